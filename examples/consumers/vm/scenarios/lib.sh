# Sourced by init before each scenario, in a shell of its own: two ends, their cable, traffic, and what must hold.
set -euo pipefail
