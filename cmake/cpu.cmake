# The extension `_cpu`: the operations on the CPU, the same file compiled for every instruction set that it chooses from.

set(ALEXNET_CPU_SETS generic)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(APPEND ALEXNET_CPU_SETS avx2 avx512)
endif()
set(ALEXNET_CPU_FLAGS_avx2 -mavx2 -mfma)
set(ALEXNET_CPU_FLAGS_avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512)

pybind11_add_module(_cpu MODULE NO_EXTRAS csrc/bindings/cpu_module.cpp csrc/cpu/work.cpp)
foreach(set ${ALEXNET_CPU_SETS})
  add_library(alexnet_cpu_${set} OBJECT csrc/cpu/isa.cpp)
  target_include_directories(alexnet_cpu_${set} PRIVATE csrc)
  target_compile_definitions(alexnet_cpu_${set} PRIVATE ALEXNET_HOST_ONLY ALEXNET_CPU_ISA=${set})
  # -ffp-contract: a product and the sum behind it are one rounding wherever the set has it, so that results agree.
  target_compile_options(alexnet_cpu_${set} PRIVATE ${ALEXNET_CXX_WARNINGS} -O3 -ffp-contract=fast -fno-math-errno
                                                    ${ALEXNET_CPU_FLAGS_${set}})
  target_link_libraries(_cpu PRIVATE alexnet_cpu_${set})
endforeach()
target_include_directories(_cpu PRIVATE csrc)
target_compile_definitions(_cpu PRIVATE ALEXNET_HOST_ONLY)
target_compile_options(_cpu PRIVATE ${ALEXNET_CXX_WARNINGS})
install(TARGETS _cpu LIBRARY DESTINATION alexnet_cuda)
