#include "simt/shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace alexnet::simt {
namespace {

constexpr size_t kPage = 64 * 1024;  // the largest page of the systems this runs on
constexpr size_t kGuard = 256 * 1024;
constexpr size_t kGap = 256;                          // poison before and after each array
constexpr size_t kStaticArea = 4 * kMaxStaticShared;  // room for gaps around many small arrays
constexpr size_t kDynamicArea = (kMaxShared + kGap + kPage - 1) / kPage * kPage;
constexpr size_t kDynamicAlignment = 128;

size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

bool poisoned(const char* start, const char* end) {
  return std::all_of(start, end, [](char byte) { return static_cast<unsigned char>(byte) == kPoison; });
}

}  // namespace

size_t SharedMemory::most_extent() {
  return 3 * kGuard + kStaticArea + kDynamicArea;
}

SharedMemory::SharedMemory() : mapping_bytes_(most_extent()) {
  void* mapping = mmap(nullptr, mapping_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::runtime_error("the system refused memory for the CPU executor");
  mapping_ = static_cast<char*>(mapping);
  static_start_ = mapping_ + kGuard;
  char* const dynamic_start = static_start_ + kStaticArea + kGuard;
  dynamic_end_ = dynamic_start + kDynamicArea;
  dynamic_ = dynamic_end_;
  static_next_ = static_start_;
  if (mprotect(static_start_, kStaticArea, PROT_READ | PROT_WRITE) != 0 ||
      mprotect(dynamic_start, kDynamicArea, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping_, mapping_bytes_);
    throw std::runtime_error("the system refused memory for the CPU executor");
  }
  memset(static_start_, kPoison, kStaticArea);
  memset(dynamic_start, kPoison, kDynamicArea);
}

SharedMemory::~SharedMemory() {
  munmap(mapping_, mapping_bytes_);
}

void SharedMemory::begin_block(size_t dynamic_bytes) {
  arrays_.clear();
  static_next_ = static_start_;
  static_bytes_ = 0;
  dynamic_bytes_ = dynamic_bytes;
  dynamic_ = dynamic_end_ - round_up(dynamic_bytes, kDynamicAlignment);
  memset(dynamic_ - kGap, kPoison, static_cast<size_t>(dynamic_end_ - dynamic_) + kGap);
}

void* SharedMemory::add_static(size_t bytes, size_t alignment, const char* name, Site site) {
  static_bytes_ = round_up(static_bytes_, alignment) + bytes;
  // An address that is a multiple of 16 and of no more: alignment beyond what the declaration asks for is luck.
  const size_t step = std::max<size_t>(alignment, 16);
  auto address = round_up(reinterpret_cast<uintptr_t>(static_next_) + kGap, 2 * step);
  if (alignment <= 16) address += 16;
  char* const data = reinterpret_cast<char*>(address);
  if (static_bytes_ > kMaxStaticShared || static_bytes_ + dynamic_bytes_ > kMaxShared ||
      data + bytes + kGap > static_start_ + kStaticArea)
    return nullptr;
  memset(static_next_, kPoison, static_cast<size_t>(data - static_next_) + bytes + kGap);
  static_next_ = data + bytes;
  arrays_.push_back({data, bytes, name, site});
  return data;
}

bool SharedMemory::contains(const void* address, size_t bytes) const {
  const char* const start = static_cast<const char*>(address);
  if (start >= dynamic_ && start + bytes <= dynamic_ + dynamic_bytes_) return true;
  return std::any_of(arrays_.begin(), arrays_.end(), [&](const Array& array) {
    return start >= array.data && start + bytes <= array.data + array.bytes;
  });
}

std::string SharedMemory::damage() const {
  if (!poisoned(dynamic_ - kGap, dynamic_)) return "write before the start of dynamic shared memory";
  if (!poisoned(dynamic_ + dynamic_bytes_, dynamic_end_)) return "write past the end of dynamic shared memory";
  const char* gap = static_start_;
  for (const Array& array : arrays_) {
    const auto label = std::string("shared array ") + array.name;
    if (!poisoned(std::max<const char*>(gap, array.data - kGap), array.data))
      return "write before the start of " + label;
    gap = array.data + array.bytes;
    if (!poisoned(gap, gap + kGap)) return "write past the end of " + label;
  }
  return {};
}

std::string SharedMemory::describe_offset(size_t offset) const {
  const char* const address = mapping_ + offset;
  for (const Array& array : arrays_) {
    if (address >= array.data && address < array.data + array.bytes) {
      return std::string("shared array ") + array.name + " at byte " + std::to_string(address - array.data);
    }
  }
  return "dynamic shared memory at byte " + std::to_string(address - dynamic_);
}

std::string SharedMemory::describe_address(uintptr_t address) const {
  const auto start = reinterpret_cast<uintptr_t>(mapping_);
  if (address < start || address - start >= mapping_bytes_) return {};
  const auto end = reinterpret_cast<uintptr_t>(dynamic_end_);
  if (address >= end) {
    return std::to_string(address - reinterpret_cast<uintptr_t>(dynamic_) - dynamic_bytes_) +
           " bytes past the end of dynamic shared memory (" + std::to_string(dynamic_bytes_) + " bytes)";
  }
  return "in the guard zones around shared memory";
}

}  // namespace alexnet::simt
