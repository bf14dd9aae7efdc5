-- SPDX-License-Identifier: GPL-3.0-or-later
-- What wrk asks, for tests/bench/load.py, which says in the environment: LOAD_KEY, LOAD_BODY, LOAD_STREAMED (the body of
-- every LOAD_NTH request, 0 for none), LOAD_SECONDS, LOAD_RATE (requests a second, 0 for as fast as it goes).
--
-- wrk stops with requests on their way, of which nobody knows whether they were answered. Here each connection falls idle
-- once the time is over, and wrk is given longer: every request that was sent has its answer, or is missing.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } load_moment;
int clock_gettime(int clock, load_moment *moment);
]]
local clock = ffi.new("load_moment")
local IDLE = 1e9 -- milliseconds

local function now()
    ffi.C.clock_gettime(1, clock) -- CLOCK_MONOTONIC
    return tonumber(clock.seconds) + tonumber(clock.nanoseconds) / 1e9
end

local function told(name)
    return tonumber(os.getenv(name))
end

local seconds, rate, nth = told("LOAD_SECONDS"), told("LOAD_RATE"), told("LOAD_NTH")
local plain, streamed, formed
begun, ended, sent, answered, refused = 0, 0, 0, 0, 0

function init()
    local headers = {
        ["Authorization"] = "Bearer " .. os.getenv("LOAD_KEY"),
        ["Content-Type"] = "application/json",
    }
    plain = wrk.format("POST", nil, headers, os.getenv("LOAD_BODY"))
    streamed = wrk.format("POST", nil, headers, os.getenv("LOAD_STREAMED"))
    formed = 0
end

function delay()
    local at = now()
    if sent == 0 then begun = at end
    local due = rate > 0 and begun + sent / rate or at
    if math.max(due, at) - begun >= seconds then return IDLE end
    sent = sent + 1
    return math.max(0, (due - at) * 1000)
end

function request()
    formed = formed + 1
    return nth > 0 and formed % nth == 0 and streamed or plain
end

function response(status)
    if status == 200 then answered = answered + 1 else refused = refused + 1 end
    ended = now()
end

local only -- load.py starts wrk with one thread

function setup(thread)
    only = thread
end

function done(summary, latency)
    local errors = summary.errors
    local broken = errors.connect + errors.read + errors.write + errors.timeout
    local said = '{"answered": %d, "missing": %d, "refused": %d, "broken": %d, "seconds": %f, "p50": %f, "p99": %f}\n'
    local count = only:get("answered") + only:get("refused")
    io.write(said:format(only:get("answered"), only:get("sent") - count, only:get("refused"), broken,
        only:get("ended") - only:get("begun"), latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
