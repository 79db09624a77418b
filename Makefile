# Every verb of the project. Each installs the system packages it lacks (Debian; elsewhere it says which).

.DEFAULT_GOAL := help
.PHONY: help run test hostile load check fmt schema contracts demo bench chaos

help: ## lists the verbs
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## builds and starts everything in one process, with a database of its own under data/
	@deploy/install.sh run
	cargo run --bin colloquy -- all

test: ## all tests, beside a PostgreSQL and a Kafka broker started for them and stopped after
	@deploy/test-env.sh cargo test --workspace --features server/eventstoredb

chaos: ## every fault of the list, long and with the proof that it happened; ROWS="A2 D6" plays only those
	@deploy/install.sh chaos
	@deploy/test-env.sh cargo test -p server --features eventstoredb --test chaos -- --whole $(ROWS)

hostile: ## sends bad input of every kind to a started server, and prints what each is answered
	@TEST_ENV_KAFKA=off deploy/test-env.sh cargo test -q -p server --features eventstoredb --test it bad_input -- --nocapture --test-threads 1

load: ## measures the edge under load, into docs/benchmarks.md; SECONDS=300 is how long the steady stream lasts
	@TEST_ENV_KAFKA=off deploy/bench-env.sh cargo test --release -p server --features eventstoredb --test load -- --whole --seconds $(or $(SECONDS),300)

check: ## formatting, lints, and the domain alone, where a clock or randomness does not compile
	@deploy/install.sh build
	cargo fmt --all --check
	cargo check --locked -p domain
	cargo clippy --workspace --all-targets --features server/eventstoredb -- -D warnings

fmt: ## formats all code
	cargo fmt --all

schema: ## writes the contracts under schemas/ from the code
	@deploy/install.sh build
	cargo run --bin colloquy -- schema

contracts: ## checks a demo's records in Kafka against the committed contracts, with public validators
	@deploy/test-env.sh deploy/contracts.sh

demo: ## plays an interview from job to signed verdict through the public API
	@deploy/install.sh run
	cargo run --bin colloquy -- demo

bench: ## measures, with a PostgreSQL that writes through to the disk, and a Kafka broker
	@deploy/bench-env.sh cargo run --release --manifest-path benches/Cargo.toml --target-dir target
