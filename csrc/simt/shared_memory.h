// Shared memory of the running block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "simt/device.h"

namespace alexnet::simt {

inline constexpr size_t kMaxStaticShared = 48 * 1024;  // what ptxas accepts
inline constexpr size_t kMaxShared = 227 * 1024;       // what a block can have on sm_90

class SharedMemory {
 public:
  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Forgets the static arrays of the last block and poisons the dynamic bytes of the next.
  void begin_block(size_t dynamic_bytes);
  // Storage between two gaps of poison; null where static shared memory is spent.
  void* add_static(size_t bytes, size_t alignment, const char* name, Site site);
  void* dynamic() { return dynamic_; }
  // Of any address: less than extent() for those in shared memory and its guard zones.
  size_t offset(const void* address) const {
    return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(mapping_);
  }
  size_t extent() const { return mapping_bytes_; }
  static size_t most_extent();
  // "shared array tile at byte 12"
  std::string describe_offset(size_t offset) const;
  bool contains(const void* address, size_t bytes) const;
  // Empty, or which array was written beyond its ends.
  std::string damage() const;
  // Empty where the address is not in or near shared memory.
  std::string describe_address(uintptr_t address) const;

 private:
  struct Array {
    char* data;
    size_t bytes;
    const char* name;
    Site site;
  };

  char* mapping_;
  size_t mapping_bytes_;
  char* static_start_;
  char* static_next_;
  char* dynamic_end_;
  char* dynamic_;
  size_t dynamic_bytes_ = 0;
  size_t static_bytes_ = 0;
  std::vector<Array> arrays_;
};

}  // namespace alexnet::simt
