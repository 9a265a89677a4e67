# SPDX-License-Identifier: MIT
# Names of the system calls, as this build's headers have them.
execute_process(
  COMMAND ${CMAKE_C_COMPILER} -E -dM -include sys/syscall.h -x c /dev/null
  OUTPUT_VARIABLE macros COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "#define __NR_[a-z0-9_]+" macros "${macros}")
list(SORT macros)
set(names "")
foreach(macro IN LISTS macros)
  string(REPLACE "#define __NR_" "" name "${macro}")
  string(APPEND names "[__NR_${name}] = \"${name}\",\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/names.inc CONTENT "${names}")
