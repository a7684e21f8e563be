// Inverted dropout: which elements are dropped is csrc/common/philox.cuh's and csrc/ops/dropout.h's to say.
#pragma once

#include "common/philox.cuh"
#include "cpu/simd.h"
#include "cpu/work.h"
#include "ops/dropout.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

class DropoutApply : public Work {
 public:
  // `step` is the params' own, already read.
  DropoutApply(const DropoutParams& p, uint64_t step, int64_t x_pitch, int64_t y_pitch)
      : p_(p), step_(step), x_pitch_(x_pitch), y_pitch_(y_pitch) {
    per_tile_ = p.columns > kElements ? 1 : kElements / (p.columns > 0 ? p.columns : 1);
    tiles_[0] = p.columns > 0 ? static_cast<int>((p.rows + per_tile_ - 1) / per_tile_) : 0;
  }

 protected:
  void tile(int, int index, float*) override {
    const int64_t first = index * per_tile_, end = first + per_tile_ < p_.rows ? first + per_tile_ : p_.rows;
    for (int64_t row = first; row < end; ++row) {
      apply(static_cast<const float*>(p_.x) + row * x_pitch_, static_cast<float*>(p_.y) + row * y_pitch_,
            p_.dropout.start + row * p_.dropout.row_stride);
    }
  }

 private:
  static constexpr int64_t kElements = 16384;
  static constexpr int kBlocks = 32;  // of four words, that are drawn together

  void apply(const float* x, float* y, int64_t element) const;
  void draw(uint32_t block, uint32_t* words) const;

  DropoutParams p_;
  uint64_t step_;
  int64_t x_pitch_, y_pitch_;
  int64_t per_tile_;
};

// kBlocks blocks from `block` on, side by side for the vector units: the same rounds as philox4x32.
inline void DropoutApply::draw(uint32_t block, uint32_t* words) const {
  uint32_t c[4][kBlocks];
  for (int i = 0; i < kBlocks; ++i) {
    c[0][i] = block + static_cast<uint32_t>(i);
    c[1][i] = p_.dropout.purpose;
    c[2][i] = static_cast<uint32_t>(step_);
    c[3][i] = static_cast<uint32_t>(step_ >> 32);
  }
  uint32_t key0 = static_cast<uint32_t>(p_.dropout.seed), key1 = static_cast<uint32_t>(p_.dropout.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlocks; ++i) {
      const uint64_t product0 = uint64_t{0xD2511F53u} * c[0][i], product1 = uint64_t{0xCD9E8D57u} * c[2][i];
      c[0][i] = static_cast<uint32_t>(product1 >> 32) ^ c[1][i] ^ key0;
      c[1][i] = static_cast<uint32_t>(product1);
      c[2][i] = static_cast<uint32_t>(product0 >> 32) ^ c[3][i] ^ key1;
      c[3][i] = static_cast<uint32_t>(product0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int i = 0; i < kBlocks; ++i) {
    for (int j = 0; j < 4; ++j) words[4 * i + j] = c[j][i];
  }
}

inline void DropoutApply::apply(const float* x, float* y, int64_t element) const {
  const uint64_t threshold = dropout_threshold(p_.dropout.rate);
  const float scale = p_.dropout.scale;
  uint32_t words[4 * kBlocks];
  for (int64_t done = 0; done < p_.columns;) {
    const int64_t at = element + done;
    draw(static_cast<uint32_t>(at / 4), words);
    const int skip = static_cast<int>(at % 4);
    const int64_t left = p_.columns - done, count = left < 4 * kBlocks - skip ? left : 4 * kBlocks - skip;
    for (int64_t i = 0; i < count; ++i) y[done + i] = words[skip + i] < threshold ? 0.f : x[done + i] * scale;
    done += count;
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
