# SPDX-License-Identifier: MIT
# What differs by processor: a folder of its own, found first wherever a file is included.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(arch ${CMAKE_CURRENT_LIST_DIR}/arch/x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(arch ${CMAKE_CURRENT_LIST_DIR}/arch/aarch64)
else()
  message(FATAL_ERROR "memsc runs on x86-64 and 64-bit Arm, not on ${CMAKE_SYSTEM_PROCESSOR}")
endif()
file(GLOB arch_assembler CONFIGURE_DEPENDS ${arch}/*.S)
include_directories(BEFORE ${arch})
