// Checks of what Python passes, made before anything is launched. Each throws std::invalid_argument, in Python a
// ValueError, that says what was given and what was expected.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "common/cuda_runtime.h"

#ifdef ALEXNET_CUDA_SIMT
#include "simt/memory.h"
#endif

namespace alexnet::bindings {

inline int64_t check_size(const char* name, int64_t value, int64_t smallest = 0,
                          int64_t largest = std::numeric_limits<int32_t>::max()) {
  if (value < smallest || value > largest) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; expected " +
                                std::to_string(smallest) + " to " + std::to_string(largest));
  }
  return value;
}

// Elements of a tensor: more than any memory holds, few enough that no index or byte count overflows.
constexpr int64_t kMaxCount = int64_t{1} << 44;

inline int64_t check_count(const char* name, int64_t value) {
  return check_size(name, value, 0, kMaxCount);
}

inline int64_t check_matrix(int64_t rows, const char* columns_name, int64_t columns) {
  check_count("rows", rows);
  check_size(columns_name, columns);
  if (columns > 0 && rows > kMaxCount / columns) {
    throw std::invalid_argument("rows * " + std::string(columns_name) + " is " + std::to_string(rows) + " * " +
                                std::to_string(columns) + "; expected at most " + std::to_string(kMaxCount));
  }
  return rows * columns;
}

// The address of a tensor of `count` elements; it may be 0 only where there are none.
template <typename T>
T* check_pointer(const char* name, uintptr_t address, int64_t count, int alignment) {
  if (address == 0 && count > 0) {
    throw std::invalid_argument(std::string(name) + " is a null pointer; expected the address of " +
                                std::to_string(count) + " elements");
  }
  if (address % static_cast<uintptr_t>(alignment) != 0) {
    throw std::invalid_argument(std::string(name) + " is at address " + std::to_string(address) +
                                "; expected a multiple of " + std::to_string(alignment));
  }
#ifdef ALEXNET_CUDA_SIMT
  constexpr size_t kElementBytes = sizeof(std::conditional_t<std::is_void_v<T>, char, T>);
  if (address != 0 && !simt::is_guarded(reinterpret_cast<const void*>(address), count * kElementBytes)) {
    throw std::invalid_argument(std::string(name) +
                                " is not in memory of the CPU executor; expected a buffer from allocate()");
  }
#endif
  return reinterpret_cast<T*>(address);
}

inline float check_finite(const char* name, double value, double smallest = -std::numeric_limits<float>::max(),
                          double largest = std::numeric_limits<float>::max()) {
  if (!(value >= smallest && value <= largest)) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; expected a number from " +
                                std::to_string(smallest) + " to " + std::to_string(largest));
  }
  return static_cast<float>(value);
}

inline cudaStream_t to_stream(uintptr_t stream) {
  return reinterpret_cast<cudaStream_t>(stream);
}

}  // namespace alexnet::bindings
