# From any Debian to AArch64 Linux. PYTHON_ROOT is an unpacked AArch64 system with Python's headers.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${PYTHON_ROOT}/usr/include")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PYTHON_ROOT)
