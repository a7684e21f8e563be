// FC fprop and dgrad: rows of images times weights. The weights are read once, from memory, in blocks of kBlock
// products by a few panels, which are packed into the second-level cache for all images. Of few columns, images are
// shared out too, and the weights packed once for all of them into the workspace; so are weights that are kept.
#pragma once

#include "cpu/linear.h"
#include "cpu/pack.h"
#include "cpu/tile.h"
#include "cpu/work.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

// y [N, columns] = x [N, products] times weights: where `turned`, weight[product, column] (dgrad), else
// weight[column, product] (fprop).
class LinearProduct : public Work {
 public:
  // `keep`: the workspace is to hold the weights packed for later calls.
  LinearProduct(const LinearShape& shape, const float* x, ptrdiff_t x_pitch, const float* weight, bool turned,
                bool keep, const Epilogue& epilogue, ptrdiff_t y_pitch)
      : shape_(shape),
        x_(x),
        weight_(weight),
        x_pitch_(x_pitch),
        y_pitch_(y_pitch),
        turned_(turned),
        panels_((shape.columns + kColumns - 1) / kColumns),
        per_tile_(panels_ / kTiles),
        images_(shape.N, kImages),
        epilogue_(epilogue) {
    per_tile_ = per_tile_ < 1 ? 1 : per_tile_ < kPanels ? per_tile_ : kPanels;
    const int wanted = panels_ > 0 && panels_ < kTiles ? (kTiles + panels_ - 1) / panels_ : 1;
    const int most = (shape.N + kLeastImages - 1) / kLeastImages, pieces = wanted < most ? wanted : most;
    images_.pieces = images_.pieces > pieces ? images_.pieces : pieces;
    packs_once_ = keep || (images_.pieces > 1 && panels_ < kTiles);
    if (packs_once_) {
      tiles_[0] = (panels_ + per_tile_ - 1) / per_tile_;
      workspace_floats_ = panels_ * panel_floats(shape.products);
    }
    tiles_[1] = (panels_ + per_tile_ - 1) / per_tile_ * images_.pieces;
  }

 protected:
  void tile(int phase, int index, float* workspace) override {
    const int piece = phase == 0 ? 0 : index % images_.pieces;
    const int first = (phase == 0 ? index : index / images_.pieces) * per_tile_;
    const int panels = panels_ - first < per_tile_ ? panels_ - first : per_tile_;
    float* packed = packs_once_ ? workspace + first * panel_floats(shape_.products) : nullptr;
    if (phase == 0) {
      for (int k = 0; k < shape_.products; k += kBlock) pack(first, panels, k, packed + panels * panel_floats(k));
    } else {
      many_images(first, panels, images_.begin(piece), images_.size(piece), packed);
    }
  }

 private:
  static constexpr int kPanels = 4, kBlock = 512, kImages = 256;
  static constexpr int kTiles = 16;        // wanted at least, so that many threads have work
  static constexpr int kLeastImages = 14;  // of a tile: whole tiles of AVX-512

  static ptrdiff_t panel_floats(int products) { return static_cast<ptrdiff_t>(products) * kColumns; }
  int columns_of(int panel) const {
    const int left = shape_.columns - panel * kColumns;
    return left < kColumns ? left : kColumns;
  }
  int count_of(int k) const { return shape_.products - k < kBlock ? shape_.products - k : kBlock; }
  void pack(int first, int panels, int k, float* to) const;
  void many_images(int first, int panels, int n, int images, const float* packed) const;

  LinearShape shape_;
  const float *x_, *weight_;
  ptrdiff_t x_pitch_, y_pitch_;
  bool turned_, packs_once_;
  int panels_, per_tile_;
  Pieces images_;
  Epilogue epilogue_;
};

// The block of products from k on: to [panel, product, kColumns].
inline void LinearProduct::pack(int first, int panels, int k, float* to) const {
  const ptrdiff_t pitch = shape_.weight_pitch, panel_step = panel_floats(count_of(k));
  const float* from = weight_ + (turned_ ? k * pitch + panel_floats(first) : panel_floats(first) * pitch + k);
  if (!turned_) {
    for (int panel = 0; panel < panels; ++panel, to += panel_step) {
      pack_rows(from + panel_floats(panel) * pitch, pitch, columns_of(first + panel), count_of(k), to);
    }
    return;
  }
  constexpr int kAhead = 8, kLine = 16;  // lines of weights that come into the cache meanwhile; floats of the cache's
  for (int i = 0; i < count_of(k); ++i, from += pitch, to += kColumns) {  // memory sees runs of all panels
    for (int j = 0; j < panels * kColumns; j += kLine) __builtin_prefetch(from + kAhead * pitch + j);
    for (int panel = 0; panel < panels; ++panel) {
      pack_columns(from + panel_floats(panel), pitch, columns_of(first + panel), 1, to + panel * panel_step);
    }
  }
}

// `packed`: the tile's weights, block after block, where they are packed once.
inline void LinearProduct::many_images(int first, int panels, int n, int images, const float* packed) const {
  // x is copied to lines 16 floats longer than a block: at a power of two all of them would share a few cache lines.
  constexpr ptrdiff_t kLine = kBlock + 16;
  const ptrdiff_t sums = static_cast<ptrdiff_t>(images) * kColumns;
  float* c = scratch(static_cast<size_t>(panels * sums + kLine * images + panels * panel_floats(kBlock)));
  float* lines = c + panels * sums;  // c is [panel, image, kColumns]
  float* block = lines + kLine * images;
  const Pieces rows(images, kRows);
  for (int k = 0; k < shape_.products; k += kBlock) {
    const int count = count_of(k);
    for (int i = 0; i < images; ++i) {
      std::memcpy(lines + i * kLine, x_ + (n + i) * x_pitch_ + k, static_cast<size_t>(count) * sizeof(float));
    }
    if (!packs_once_) pack(first, panels, k, block);
    const float* b = packs_once_ ? packed + panels * panel_floats(k) : block;
    for (int panel = 0; panel < panels; ++panel, b += panel_floats(count)) {
      for (int row = 0; row < rows.pieces; ++row) {
        // Weights that are packed already come from memory: the next panel's while the last rows take this one's, half
        // of them with the rows before.
        const ptrdiff_t next = packs_once_ ? panel_floats(count) : 0;
        const int after = rows.pieces - 1 - row, first_half = rows.pieces > 1 && kColumns > 16 ? 1 : 0;
        const ptrdiff_t ahead[2] = {after == first_half ? next : 0, after == 0 ? next + 16 : 0};
        kernel<true>(rows.size(row), columns_of(first + panel))(
            1, count, {lines + rows.begin(row) * kLine, 0, 1, kLine}, {b, 0, kColumns, {ahead[0], ahead[1]}},
            c + panel * sums + panel_floats(rows.begin(row)), k > 0);
      }
    }
  }
  if (shape_.products == 0) std::memset(c, 0, sizeof(float) * panels * sums);
  for (int panel = 0; panel < panels; ++panel) {
    const ptrdiff_t column = static_cast<ptrdiff_t>(first + panel) * kColumns;
    store_tile(epilogue_, c + panel * sums, kColumns, images, columns_of(first + panel), n * y_pitch_ + column,
               y_pitch_, column);
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
