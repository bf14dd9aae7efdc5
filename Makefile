# SPDX-License-Identifier: GPL-3.0-or-later
# What there is to do in a clone. `make` alone lists it.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/molecule/shared/ansible.cfg

# A second lab beside the usual one: another name, and another number, which is part of its subnets.
export AIRLOCK_LAB_INSTANCE ?= airlock-lab
LAB := .lab$(if $(filter-out airlock-lab,$(AIRLOCK_LAB_INSTANCE)),/$(AIRLOCK_LAB_INSTANCE))
PLAY := ansible-playbook -i $(LAB)/site/inventory.yml

STAGES := lint types unit sanity integration tamper artifact browser bench molecule

.PHONY: help venv lab lab-host lab-down ask verify testinfra test $(STAGES)

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22
	@echo "  make STAGE          One stage of make test: $(STAGES)"

venv: ## Python tools at the pinned versions, in .venv
	@molecule/shared/bootstrap

lab: venv ## The lab: five hosts on this machine, built by site.yml, and a question answered
	$(PLAY) molecule/shared/create.yml
	$(PLAY) molecule/shared/prepare.yml
	$(PLAY) homelab.airlock.site
	$(PLAY) molecule/shared/recap.yml
	@cat $(LAB)/recap.txt

lab-host: venv ## One host of the lab anew and bare, with its old address and host key: HOST=inference
	@test -n "$(HOST)" || { echo "Say which host: make lab-host HOST=inference" >&2; exit 2; }
	$(PLAY) molecule/shared/create.yml -e lab_only=$(HOST)
	$(PLAY) molecule/shared/prepare.yml

lab-down: venv ## The lab away; base images, packages and models are kept for the next time
	$(PLAY) molecule/shared/destroy.yml

ask: ## Ask the lab something: Q="Why is the sky blue?"
	@$(LAB)/ask --stream "$(or $(Q),Say hello.)"

verify: venv ## Attack the lab's inference host and file the evidence
	$(PLAY) homelab.airlock.verify

testinfra: venv ## Look at the lab from outside, with tests that know nothing of Ansible: TESTS="FILE..."
	AIRLOCK_SITE=$(LAB)/site pytest --ignore-glob='tests/testinfra/*/*' $(or $(TESTS),tests/testinfra)

test: venv ## All tests, in a lab of their own
	@tests/run-all

$(STAGES): venv
	@tests/run-$@
