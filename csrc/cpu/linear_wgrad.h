// FC wgrad: a tile of C is up to kRows outputs by kColumns inputs, over all images. It is made once and goes straight
// into the gradient or the update: with few images that is bound by memory, which sees long pieces of few rows.
#pragma once

#include "cpu/linear.h"
#include "cpu/pack.h"
#include "cpu/sgd.h"
#include "cpu/tile.h"
#include "cpu/work.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

class LinearWgrad : public Work {
 public:
  explicit LinearWgrad(const LinearWgradParams& p) : p_(p), target_{p.dweight, p.accumulate, p.sgd} {
    panels_ = (p.in + kColumns - 1) / kColumns;
    workspace_floats_ = static_cast<int64_t>(panels_) * p.N * kColumns;
    // Panels of x that stay in half of the second-level cache; of few outputs fewer, so that many threads have work.
    constexpr int kTiles = 16;
    const int row_tiles = (p.out + kTileRows - 1) / kTileRows;
    const int64_t share = int64_t{panels_} * row_tiles / kTiles, most = share < kRun ? kRun : share;
    const int64_t panel = int64_t{sizeof(float)} * (p.N > 0 ? p.N : 1) * kColumns;
    const int64_t fit = static_cast<int64_t>(l2_bytes()) / 2 / panel, few = fit < most ? fit : most;
    per_block_ = few < 1 ? 1 : few < panels_ ? static_cast<int>(few) : panels_;
    blocks_ = panels_ > 0 ? (panels_ + per_block_ - 1) / per_block_ : 1;  // dbias is wanted without inputs too
    tiles_[0] = panels_;
    tiles_[1] = row_tiles * blocks_;
  }

 protected:
  void tile(int phase, int index, float* workspace) override {
    if (phase == 0) {
      const int j = index * kColumns, left = p_.in - j;
      return pack_columns(p_.x + j, p_.x_pitch, left < kColumns ? left : kColumns, p_.N,
                          workspace + static_cast<ptrdiff_t>(index) * p_.N * kColumns);
    }
    const int first = index % ((p_.out + kTileRows - 1) / kTileRows) * kTileRows;
    const int block = index / ((p_.out + kTileRows - 1) / kTileRows);
    const int left = p_.out - first;
    const Pieces rows(left < kTileRows ? left : kTileRows, kRows);
    for (int i = 0; i < rows.pieces; ++i) some_outputs(first + rows.begin(i), rows.size(i), block, workspace);
  }

 private:
  static constexpr int kTileRows = 84;  // whole tiles of every instruction set

  // Panels whose sums are made before they are taken row by row: memory sees runs of a kilobyte.
  static constexpr int kRun = 256 / kColumns, kTile = kRows * kColumns;

  int columns_of(int panel) const {
    const int left = p_.in - panel * kColumns;
    return left < kColumns ? left : kColumns;
  }
  void some_outputs(int first, int rows, int block, const float* workspace) const;

  LinearWgradParams p_;
  GradientTarget target_;
  int panels_, per_block_, blocks_;
};

inline void LinearWgrad::some_outputs(int first, int rows, int block, const float* workspace) const {
  float* c = scratch(kRun * kTile + static_cast<size_t>(p_.N) * kRows);
  float* dy = c + kRun * kTile;
  float total[kRows] = {};
  for (int n = 0; n < p_.N; ++n) {
    for (int m = 0; m < rows; ++m) {
      dy[n * kRows + m] = p_.dy[n * p_.dy_pitch + first + m];
      total[m] += dy[n * kRows + m];
    }
  }
  if (p_.dbias && block == 0) std::memcpy(p_.dbias + first, total, sizeof(float) * rows);
  const int end = (block + 1) * per_block_ < panels_ ? (block + 1) * per_block_ : panels_;
  for (int from = block * per_block_; from < end; from += kRun) {
    const int to = from + kRun < end ? from + kRun : end;
    for (int panel = from; panel < to; ++panel) {
      const float* b = workspace + static_cast<ptrdiff_t>(panel) * p_.N * kColumns;
      kernel<false>(rows, columns_of(panel))(1, p_.N, {dy, 0, kRows, 1}, {b, 0, kColumns}, c + (panel - from) * kTile,
                                             false);
    }
    for (int m = 0; m < rows; ++m) {
      for (int panel = from; panel < to; ++panel) {
        target_.take(c + (panel - from) * kTile + m * kColumns, (first + m) * p_.weight_pitch + panel * kColumns,
                     columns_of(panel));
      }
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
