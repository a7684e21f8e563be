#include "simt/launch.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "simt/executor.h"

namespace alexnet::simt {
namespace {

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const char* const value = getenv(name);
  if (value == nullptr || *value == '\0') return otherwise;
  char* end = nullptr;
  const uint64_t number = strtoull(value, &end, 10);
  if (*end != '\0') throw std::invalid_argument(std::string(name) + " is \"" + value + "\"; expected a whole number");
  return number;
}

std::atomic<uint64_t>& seed_setting() {
  static std::atomic<uint64_t> value{number_from_environment("ALEXNET_CUDA_SIMT_SEED", 0)};
  return value;
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> value{
      static_cast<int>(std::max<uint64_t>(1, number_from_environment("ALEXNET_CUDA_SIMT_THREADS", 1)))};
  return value;
}

MmaSums mma_sums_called(const std::string& name, const char* what) {
  if (name == "exact") return MmaSums::kExact;
  if (name == "truncated") return MmaSums::kTruncated;
  throw std::invalid_argument(std::string(what) + " is \"" + name + "\"; expected exact or truncated");
}

std::atomic<MmaSums>& mma_setting() {
  static std::atomic<MmaSums> setting = [] {
    constexpr const char* kVariable = "ALEXNET_CUDA_SIMT_MMA";
    const char* const value = getenv(kVariable);
    return value == nullptr || *value == '\0' ? MmaSums::kExact : mma_sums_called(value, kVariable);
  }();
  return setting;
}

// Runners are kept between launches for their stacks and fibers, which any OS thread can take up.
class RunnerPool {
 public:
  std::unique_ptr<BlockRunner> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return std::make_unique<BlockRunner>();
    std::unique_ptr<BlockRunner> runner = std::move(free_.back());
    free_.pop_back();
    return runner;
  }
  void give(std::unique_ptr<BlockRunner> runner) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(runner));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<BlockRunner>> free_;
};

RunnerPool& pool() {
  static RunnerPool runners;
  return runners;
}

// The blocks of one launch, in an order drawn from the seed.
class BlockQueue {
 public:
  BlockQueue(const Launch& launch, uint64_t seed)
      : launch_(launch), seed_(seed), count_(uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z) {
    Random random(seed);
    // Steps of a length without a common factor visit every block once.
    do {
      step_ = 1 + random.below(count_);
    } while (std::gcd(step_, count_) != 1);
    offset_ = random.below(count_);
  }

  uint64_t count() const { return count_; }

  void work() {
    std::unique_ptr<BlockRunner> runner;
    try {
      runner = pool().take();
      const SignalStack stack;
      for (uint64_t turn = next_++; turn < count_ && !stop_; turn = next_++) {
        const auto index = static_cast<uint64_t>((static_cast<unsigned __int128>(turn) * step_ + offset_) % count_);
        const std::string error = runner->run(launch_, position(index), seed_ ^ (index * 0x9E3779B97F4A7C15u));
        if (!error.empty()) report(turn, error);
      }
    } catch (const std::exception& error) {
      report(0, error.what());
    }
    if (runner != nullptr) pool().give(std::move(runner));
  }

  void throw_error() const {
    if (!error_.empty()) throw std::runtime_error(error_);
  }

 private:
  uint3 position(uint64_t index) const {
    const auto x = static_cast<unsigned>(index % launch_.grid.x);
    const auto y = static_cast<unsigned>(index / launch_.grid.x % launch_.grid.y);
    return {x, y, static_cast<unsigned>(index / launch_.grid.x / launch_.grid.y)};
  }

  // Of the errors that several workers meet, the one of the block that came first.
  void report(uint64_t turn, const std::string& error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    if (!error_.empty() && turn >= error_turn_) return;
    error_ = error;
    error_turn_ = turn;
  }

  const Launch& launch_;
  uint64_t seed_;
  uint64_t count_;
  uint64_t step_ = 1;
  uint64_t offset_ = 0;
  std::atomic<uint64_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::string error_;
  uint64_t error_turn_ = 0;
};

void check(const Launch& launch) {
  const uint64_t threads = uint64_t{launch.block.x} * launch.block.y * launch.block.z;
  const auto describe = [](dim3 size) { return text(uint3{size.x, size.y, size.z}); };
  if (threads == 0 || threads > kMaxBlockThreads || launch.block.z > 64) {
    throw std::invalid_argument("a block of " + describe(launch.block) +
                                " threads; expected 1 to 1024, at most 64 deep");
  }
  constexpr unsigned kMaxGridX = 0x7FFFFFFF;
  constexpr unsigned kMaxGridYZ = 65535;
  if (launch.grid.x == 0 || launch.grid.y == 0 || launch.grid.z == 0 || launch.grid.x > kMaxGridX ||
      launch.grid.y > kMaxGridYZ || launch.grid.z > kMaxGridYZ) {
    throw std::invalid_argument("a grid of " + describe(launch.grid) +
                                " blocks; expected 1 to (2147483647, 65535, 65535)");
  }
  if (launch.shared_bytes > kMaxShared) {
    throw std::invalid_argument(std::to_string(launch.shared_bytes) +
                                " bytes of dynamic shared memory; expected at most " + std::to_string(kMaxShared));
  }
  mma_sums();  // a wrong word in the environment is refused here: no exception can leave a fiber
}

}  // namespace

void set_seed(uint64_t value) {
  seed_setting() = value;
}
uint64_t seed() {
  return seed_setting();
}

void set_thread_count(int count) {
  if (count < 1) throw std::invalid_argument("thread count is " + std::to_string(count) + "; expected 1 or more");
  thread_setting() = count;
}
int thread_count() {
  return thread_setting();
}

void set_mma_sums(const std::string& name) {
  mma_setting() = mma_sums_called(name, "value");
}
MmaSums mma_sums() {
  return mma_setting();
}
const char* name(MmaSums sums) {
  return sums == MmaSums::kExact ? "exact" : "truncated";
}

void run_launch(const Launch& launch) {
  check(launch);
  if (running_thread != nullptr) throw std::logic_error("a kernel launches a kernel, which the executor cannot do");
#ifdef ALEXNET_SIMT_RUNNER
  run_elsewhere(launch);
#else
  run_blocks(launch);
#endif
}

void run_blocks(const Launch& launch) {
  BlockQueue queue(launch, seed());
  {
    const FaultHandler handler;
    std::vector<std::thread> helpers;
    const auto workers = std::min<uint64_t>(static_cast<uint64_t>(thread_count()), queue.count());
    for (uint64_t i = 1; i < workers; ++i) helpers.emplace_back([&queue] { queue.work(); });
    queue.work();
    for (std::thread& helper : helpers) helper.join();
  }
  const std::string damage = damaged_guards();
  queue.throw_error();
  if (!damage.empty()) throw std::runtime_error("a kernel made a " + damage);
}

}  // namespace alexnet::simt
