# SPDX-License-Identifier: MIT
# For 64-bit Arm on another machine, tests under user-mode emulation: Debian's cross compiler and QEMU.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# QEMU passes what is written to /proc/self/mem on to this machine's kernel, and goes on executing what it has translated
# before. Where that is no file, the layer changes text by itself, which QEMU sees.
set(root ${CMAKE_BINARY_DIR}/root)
file(MAKE_DIRECTORY ${root}/proc/self/mem)
file(CREATE_LINK ${CMAKE_FIND_ROOT_PATH}/lib ${root}/lib SYMBOLIC)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${root})
