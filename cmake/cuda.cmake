# The extension `_cuda`: the toolkit and the architectures chosen by toolkit.py, then the kernels and their bindings.

# Kept at the first run: at later ones CMAKE_CUDA_COMPILER holds the choice made below.
if(NOT DEFINED ALEXNET_USER_COMPILER)
  set(ALEXNET_USER_COMPILER "${CMAKE_CUDA_COMPILER}" CACHE INTERNAL "CMAKE_CUDA_COMPILER as given by the user")
endif()
execute_process(
  COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/toolkit.py "${ALEXNET_USER_COMPILER}"
  OUTPUT_VARIABLE ALEXNET_TOOLKIT_JSON
  ERROR_VARIABLE ALEXNET_TOOLKIT_ERROR
  RESULT_VARIABLE ALEXNET_TOOLKIT_FAILED
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
if(ALEXNET_TOOLKIT_FAILED)
  message(FATAL_ERROR "alexnet_cuda: ${ALEXNET_TOOLKIT_ERROR}")
endif()

function(alexnet_list result key)
  set(values)
  string(JSON count LENGTH "${ALEXNET_TOOLKIT_JSON}" ${key})
  if(count GREATER 0)
    math(EXPR last "${count} - 1")
    foreach(index RANGE ${last})
      string(JSON value GET "${ALEXNET_TOOLKIT_JSON}" ${key} ${index})
      list(APPEND values "${value}")
    endforeach()
  endif()
  set(${result} "${values}" PARENT_SCOPE)
endfunction()

foreach(key nvcc version reason library_folder architectures_reason)
  string(JSON ALEXNET_CUDA_${key} GET "${ALEXNET_TOOLKIT_JSON}" ${key})
endforeach()
alexnet_list(ALEXNET_CUDA_architectures architectures)
alexnet_list(ALEXNET_CUDA_code_flags code_flags)
alexnet_list(ALEXNET_CUDA_notes notes)
foreach(note ${ALEXNET_CUDA_notes})
  message(STATUS "alexnet_cuda: ${note}")
endforeach()
message(STATUS "alexnet_cuda: CUDA ${ALEXNET_CUDA_version}, ${ALEXNET_CUDA_nvcc} (${ALEXNET_CUDA_reason})")
message(STATUS "alexnet_cuda: architectures ${ALEXNET_CUDA_architectures} (${ALEXNET_CUDA_architectures_reason})")

set(CMAKE_CUDA_COMPILER "${ALEXNET_CUDA_nvcc}")
set(CMAKE_CUDA_ARCHITECTURES OFF)  # they come with the flags
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
if(ALEXNET_CUDA_library_folder)
  string(APPEND CMAKE_CUDA_FLAGS " -L${ALEXNET_CUDA_library_folder}")
endif()
enable_language(CUDA)

string(REPLACE ";" "," warnings "${ALEXNET_CXX_WARNINGS}")
set(cuda_flags -Xcompiler=${warnings} -lineinfo ${ALEXNET_CUDA_code_flags})
if(ALEXNET_CUDA_WERROR)
  list(APPEND cuda_flags --Werror=all-warnings)
endif()

add_library(alexnet_kernels OBJECT ${ALEXNET_KERNELS})
target_include_directories(alexnet_kernels PRIVATE csrc)
target_compile_options(alexnet_kernels PRIVATE ${cuda_flags})

pybind11_add_module(_cuda MODULE NO_EXTRAS csrc/bindings/device.cpp csrc/bindings/cuda_module.cpp)
target_link_libraries(_cuda PRIVATE alexnet_kernels alexnet_bindings)
target_include_directories(_cuda PRIVATE csrc)
target_include_directories(_cuda SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_compile_options(_cuda PRIVATE ${ALEXNET_CXX_WARNINGS})
set_target_properties(_cuda PROPERTIES UNITY_BUILD ON)
install(TARGETS _cuda LIBRARY DESTINATION alexnet_cuda)
