# What setup, test, demo, check, compare, device and paper share. Sourced, not run: `source scripts/lib.sh`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# CMake takes it when it first makes a build folder.
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER-ccache}; fi

say() { printf '%s\n' "$*" >&2; }

# die REASON: one line, exit code 1.
die() {
  say "$(basename "$0"): $*"
  exit 1
}

# misused REASON: one line, exit code 2.
misused() {
  say "$(basename "$0"): $*; see --help"
  exit 2
}

# answer_help WORDS: where one of them asks for help, the script's opening comment and the end. Scripts look at every
# word before anything is installed or built.
answer_help() {
  [[ " $* " == *" -h "* || " $* " == *" --help "* ]] || return 0
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$root/scripts/$(basename "$0")"
  exit 0
}

# How many compilers may run at once: ONEMODEL_JOBS, else one per processor, with 1.5 GiB of free memory each.
build_jobs() {
  if [[ -n ${ONEMODEL_JOBS:-} ]]; then
    echo "$ONEMODEL_JOBS"
    return
  fi
  local processors memory_kib limit
  processors=$(nproc)
  memory_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [[ $limit != max && $((limit / 1024)) -lt $memory_kib ]]; then memory_kib=$((limit / 1024)); fi
  local jobs=$((memory_kib / 1572864))
  if ((jobs > processors)); then jobs=$processors; fi
  if ((jobs < 1)); then jobs=1; fi
  echo "$jobs"
}

# configure PRESET [CMAKE ARGUMENTS]: into build/PRESET, with ninja where it is there. A build folder that exists
# keeps its generator. ONEMODEL_WERROR, where set in the environment, is passed on.
configure() {
  local preset=$1
  shift
  local extra=()
  if [[ ! -f $root/build/$preset/CMakeCache.txt ]]; then
    if command -v ninja >/dev/null; then extra+=(-G Ninja); fi
  fi
  if [[ -n ${ONEMODEL_WERROR:-} ]]; then extra+=("-DONEMODEL_WERROR=$ONEMODEL_WERROR"); fi
  (cd "$root" && cmake --preset "$preset" ${extra[@]+"${extra[@]}"} "$@") >&2
}

# build PRESET [TARGETS]: everything where no target is named.
build() {
  local preset=$1
  shift
  local targets=()
  if (($#)); then targets=(--target "$@"); fi
  (cd "$root" && cmake --build --preset "$preset" -j "$(build_jobs)" ${targets[@]+"${targets[@]}"}) >&2
}
