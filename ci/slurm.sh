#!/bin/sh
# kmodlab on Slurm: an array of shards, and a job after them that makes one run of all.
#
#     ci/slurm.sh 30 --kernels all --modules ~/mine      30 shards; the words are those of `kmodlab matrix`
#
# The merged run is in reports/, or in KMODLAB_REPORTS, which all nodes must see, as they must this folder and kmodlab.
# KMODLAB_WAIT=1     wait for the end; the exit status is that of `kmodlab merge`
# KMODLAB_SBATCH     more words for sbatch: "--partition=lab --time=4:00:00"
# KMODLAB_CACHE      the folder of the shards' caches, one each; default: ~/.cache/kmodlab-shards
# KMODLAB_PARCEL     what `kmodlab cache export` has made: each shard whose cache is new takes it first
set -eu
reports=${KMODLAB_REPORTS:-$PWD/reports}
case ${KMODLAB_JOB-} in
shard)
	export XDG_CACHE_HOME="${KMODLAB_CACHE:-$HOME/.cache/kmodlab-shards}/$SLURM_ARRAY_TASK_ID"
	if [ -n "${KMODLAB_PARCEL-}" ] && [ ! -d "$XDG_CACHE_HOME/kmodlab" ]; then
		mkdir -p "$XDG_CACHE_HOME"
		kmodlab cache import "$KMODLAB_PARCEL"
	fi
	exec kmodlab matrix --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
		--reports "$reports/array-$SLURM_ARRAY_JOB_ID/$SLURM_ARRAY_TASK_ID" "$@"
	;;
merge)
	exec kmodlab merge "$reports/array-$1"/*/latest --reports "$reports"
	;;
esac
[ $# -gt 0 ] && [ "$1" -gt 0 ] 2>/dev/null || { echo "usage: $0 SHARDS [OPTION OF kmodlab matrix]..." >&2; exit 2; }
shards=$1
shift
mkdir -p "$reports"
# shellcheck disable=SC2086 # KMODLAB_SBATCH is several words
array=$(KMODLAB_JOB=shard sbatch --parsable --job-name=kmodlab --array="1-$shards" --output="$reports/array-%A-%a.log" \
	${KMODLAB_SBATCH-} "$0" "$@")
array=${array%%;*}
# A shard that failed, or died, is no reason not to merge: its cells are errors then.
# shellcheck disable=SC2086
KMODLAB_JOB=merge exec sbatch --job-name=kmodlab-merge --dependency="afterany:$array" --output="$reports/array-$array.log" \
	${KMODLAB_WAIT:+--wait} ${KMODLAB_SBATCH-} "$0" "$array"
