#include "simt/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>

#include "simt/device.h"

namespace alexnet::simt {
namespace {

// A wrong row or image index is off by a whole row or image, so a zone of one page would be stepped over.
constexpr size_t kGuardBytes = size_t{16} << 20;
constexpr size_t kAlignment = 16;

struct Buffer {
  char* mapping;
  size_t mapping_bytes;
  char* pages;  // accessible: from here
  size_t page_bytes;
  char* data;
  size_t bytes;
  int number;
  std::string label;
};

std::mutex buffers_mutex;
std::map<uintptr_t, Buffer> buffers;  // by address of the accessible pages
int next_number = 0;

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// The buffer whose mapping, guard zones included, holds the address; the mutex is held.
const Buffer* find(uintptr_t address) {
  // Mappings do not overlap, so only the last one that starts at or before the address can hold it.
  auto candidate = buffers.upper_bound(address + kGuardBytes);
  if (candidate == buffers.begin()) return nullptr;
  const Buffer& buffer = (--candidate)->second;
  return address - reinterpret_cast<uintptr_t>(buffer.mapping) < buffer.mapping_bytes ? &buffer : nullptr;
}

std::string name(const Buffer& buffer) {
  std::string text = "buffer " + std::to_string(buffer.number);
  if (!buffer.label.empty()) text += " \"" + buffer.label + "\"";
  return text + " (" + std::to_string(buffer.bytes) + " bytes)";
}

std::string describe(const Buffer& buffer, uintptr_t address) {
  const auto start = reinterpret_cast<uintptr_t>(buffer.data);
  if (address < start) return std::to_string(start - address) + " bytes before the start of " + name(buffer);
  const uintptr_t offset = address - start;
  if (offset < buffer.bytes) return "byte " + std::to_string(offset) + " of " + name(buffer);
  return std::to_string(offset - buffer.bytes) + " bytes past the end of " + name(buffer);
}

// The first byte in [start, end) that is not poison; end where all are.
char* first_damage(char* start, char* end) {
  return std::find_if(start, end, [](char byte) { return static_cast<unsigned char>(byte) != kPoison; });
}

}  // namespace

Placement default_placement() {
  const char* value = getenv("ALEXNET_CUDA_SIMT_PLACEMENT");
  if (value == nullptr || strcmp(value, "end") == 0) return Placement::kEnd;
  if (strcmp(value, "start") == 0) return Placement::kStart;
  throw std::invalid_argument(std::string("ALEXNET_CUDA_SIMT_PLACEMENT is \"") + value + "\"; expected end or start");
}

void* allocate(size_t bytes, Placement placement, const std::string& label) {
  const size_t page_bytes = (bytes + page_size() - 1) / page_size() * page_size();
  const size_t mapping_bytes = page_bytes + 2 * kGuardBytes;
  void* mapping = mmap(nullptr, mapping_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  char* pages = static_cast<char*>(mapping) + kGuardBytes;
  if (mapping == MAP_FAILED || (page_bytes != 0 && mprotect(pages, page_bytes, PROT_READ | PROT_WRITE) != 0)) {
    if (mapping != MAP_FAILED) munmap(mapping, mapping_bytes);
    throw std::runtime_error("the system refused " + std::to_string(bytes) +
                             " bytes for the CPU executor: " + strerror(errno));
  }
  memset(pages, kPoison, page_bytes);
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  char* data = placement == Placement::kStart ? pages : pages + page_bytes - padded;
  const std::lock_guard<std::mutex> lock(buffers_mutex);
  buffers[reinterpret_cast<uintptr_t>(pages)] = {
      static_cast<char*>(mapping), mapping_bytes, pages, page_bytes, data, bytes, next_number++, label};
  return data;
}

void release(void* data) {
  const std::lock_guard<std::mutex> lock(buffers_mutex);
  const Buffer* buffer = find(reinterpret_cast<uintptr_t>(data));
  if (buffer == nullptr || buffer->data != data) throw std::invalid_argument("release() of what is not a buffer");
  munmap(buffer->mapping, buffer->mapping_bytes);
  buffers.erase(reinterpret_cast<uintptr_t>(buffer->pages));
}

bool is_guarded(const void* data, size_t bytes) {
  const std::lock_guard<std::mutex> lock(buffers_mutex);
  const auto address = reinterpret_cast<uintptr_t>(data);
  const Buffer* buffer = find(address);
  if (buffer == nullptr) return false;
  const auto start = reinterpret_cast<uintptr_t>(buffer->data);
  return address >= start && address - start <= buffer->bytes && bytes <= buffer->bytes - (address - start);
}

std::vector<LiveBuffer> live_buffers() {
  const std::lock_guard<std::mutex> lock(buffers_mutex);
  std::vector<LiveBuffer> live;
  for (const auto& [key, buffer] : buffers) {
    live.push_back({reinterpret_cast<uintptr_t>(buffer.data), buffer.bytes, buffer.number});
  }
  return live;
}

void check_kernel_argument(const void* pointer, int position) {
  if (pointer == nullptr || is_guarded(pointer, 0)) return;
  throw std::invalid_argument(
      "argument " + std::to_string(position) +
      " of the kernel points to memory that the CPU executor did not allocate and so cannot guard");
}

std::string damaged_guards() {
  const std::lock_guard<std::mutex> lock(buffers_mutex);
  std::string text;
  for (auto& [key, buffer] : buffers) {
    char* const end = buffer.pages + buffer.page_bytes;
    char* const data_end = buffer.data + buffer.bytes;
    char* damage = first_damage(buffer.pages, buffer.data);
    if (damage == buffer.data) damage = first_damage(data_end, end);
    if (damage == end) continue;
    if (text.empty()) text = "write " + describe(buffer, reinterpret_cast<uintptr_t>(damage));
    memset(buffer.pages, kPoison, static_cast<size_t>(buffer.data - buffer.pages));
    memset(data_end, kPoison, static_cast<size_t>(end - data_end));
  }
  return text;
}

std::string describe_address(uintptr_t address) {
  const std::lock_guard<std::mutex> lock(buffers_mutex);
  const Buffer* buffer = find(address);
  if (buffer != nullptr) return describe(*buffer, address);
  return "in no buffer and near none";
}

}  // namespace alexnet::simt
