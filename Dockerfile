# ctseg, the command-line program, in a container. The second image has the program, the libraries that it loads, and a user who
# is not root.
#
#   docker build -t ctseg .
#   docker run --rm -v "$PWD:/data" -u "$(id -u):$(id -g)" ctseg segment scan.nii.gz -m model.safetensors -o out
#
# The viewer listens on 127.0.0.1 only, so the container needs the machine's own network (Linux):
#
#   docker run --rm -it --network host -v "$PWD:/data" -u "$(id -u):$(id -g)" ctseg view --port 8000 --store /data/viewer
#
# For NVIDIA's cards: the same steps on NVIDIA's images. The first has nvcc and cuDNN's headers; the second has cuDNN and what
# cuDNN itself looks for as it runs (cuBLASLt, NVRTC), which no list of a program's libraries names. `ctseg segment`, `train` and
# `view` then compute on the card if there is one (--device). The driver is the machine's, lent by NVIDIA's container toolkit
# (--gpus).
#
#   docker build -t ctseg:cuda --build-arg BUILD=nvidia/cuda:13.0.1-cudnn-devel-ubuntu24.04 \
#     --build-arg RUN=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 --build-arg OPTIONS=-DCTSEG_CUDA=ON .
#   docker run --rm --gpus all -v "$PWD:/data" -u "$(id -u):$(id -g)" ctseg:cuda segment scan.nii.gz -m model.safetensors -o out
#
# tests/container/check.sh runs these steps in bare folders of Debian or, with --cuda, Ubuntu where no container engine is. By it
# the image has 60 MB compressed and 161 MB on the disk; for cards 66 MB compressed beside what is in NVIDIA's (kernels of one
# architecture). Neither an engine nor NVIDIA's own images have been tried yet, nor a card in a container.
ARG BUILD=debian:12-slim
ARG RUN=debian:12-slim

FROM ${BUILD} AS build
ARG OPTIONS=
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      g++ cmake ninja-build zlib1g-dev libpng-dev libnifti-dev libeigen3-dev nlohmann-json3-dev libcli11-dev \
      libdcmtk-dev libopenjp2-7-dev libmicrohttpd-dev libsqlite3-dev
WORKDIR /source
COPY . .
RUN cmake --preset release -DCTSEG_BUILD_TESTS=OFF -DCTSEG_BUILD_BENCHMARKS=OFF -DCTSEG_DICOM=ON -DCTSEG_ONNX=OFF \
      -DCTSEG_MPI=OFF -DCTSEG_UNITY=ON ${OPTIONS} && \
    cmake --build --preset release --target ctseg_cli
# The program, and which packages its libraries come from: that is what the second image installs, whatever its names there.
RUN mkdir /result && cp build/release/bin/ctseg /result/ctseg && strip /result/ctseg && \
    for library in $(ldd /result/ctseg | awk '$3 ~ /^\// { print $3 }'); do \
      library=$(realpath "$library"); dpkg -S "$library" || dpkg -S "${library#/usr}"; \
    done 2> /dev/null | cut -d : -f 1 | sort -u > /result/packages

FROM ${RUN}
RUN --mount=from=build,source=/result,target=/result \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(cat /result/packages) && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log && \
    useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin ctseg && \
    install -m 755 /result/ctseg /usr/local/bin/ctseg
USER 10001
WORKDIR /data
ENTRYPOINT ["ctseg"]
CMD ["--help"]
