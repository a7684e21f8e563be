// Checks of what Python passes, made before anything is launched. Each throws std::invalid_argument, in Python a
// ValueError, that says what was given and what was expected.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "common/cuda_runtime.h"
#include "common/machine.h"

namespace alexnet::bindings {

// Whether memory belongs to one buffer of the CPU executor, whose module sets it; null on a GPU, where only the driver
// would know. By a pointer, because the bindings are compiled once for both.
inline bool (*is_allocated)(const void* data, size_t bytes) = nullptr;

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

// The address of a tensor that spans `count` elements; it may be 0 only where there are none. Alignment 0: an
// element's.
template <typename T>
T* check_pointer(const char* name, uintptr_t address, int64_t count, int element_bytes, int alignment = 0) {
  if (alignment == 0) alignment = element_bytes;
  if (address == 0 && count > 0) {
    throw std::invalid_argument(std::string(name) + " is a null pointer; expected the address of " +
                                std::to_string(count) + " elements");
  }
  if (address % static_cast<uintptr_t>(alignment) != 0) {
    throw std::invalid_argument(std::string(name) + " is at address " + std::to_string(address) +
                                "; expected a multiple of " + std::to_string(alignment));
  }
  const size_t bytes = static_cast<size_t>(count) * static_cast<size_t>(element_bytes);
  if (bytes > 0 && is_allocated != nullptr && !is_allocated(reinterpret_cast<const void*>(address), bytes)) {
    throw std::invalid_argument(std::string(name) + " is at address " + std::to_string(address) + ", from which " +
                                std::to_string(bytes) +
                                " bytes are not in one buffer of the CPU executor; expected memory from allocate()");
  }
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

// The machine of a launch choice that is asked for.
inline Machine check_machine(int64_t multiprocessors, int64_t shared_bytes = kReferenceMachine.shared_bytes) {
  return {static_cast<int>(check_size("multiprocessors", multiprocessors, 1, 1 << 20)),
          static_cast<int>(check_size("multiprocessor_bytes", shared_bytes, 100 * 1024))};
}

inline cudaStream_t to_stream(uintptr_t stream) {
  return reinterpret_cast<cudaStream_t>(stream);
}

}  // namespace alexnet::bindings
