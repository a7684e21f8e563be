// The update by a gradient that was stored: the same bits as where it is fused into wgrad.
#pragma once

#include "cpu/sgd.h"
#include "cpu/work.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

class SgdUpdate : public Work {
 public:
  SgdUpdate(const Sgd& sgd, const float* gradient, int64_t count) : sgd_(sgd), gradient_(gradient), count_(count) {
    tiles_[0] = static_cast<int>((count + kElements - 1) / kElements);
  }

 protected:
  void tile(int, int index, float*) override {
    const int64_t at = index * kElements, left = count_ - at;
    update_run(sgd_, gradient_ + at, at, left < kElements ? left : kElements);
  }

 private:
  static constexpr int64_t kElements = 65536;

  Sgd sgd_;
  const float* gradient_;
  int64_t count_;
};

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
