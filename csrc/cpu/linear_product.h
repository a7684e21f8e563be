// FC fprop and dgrad: rows of images times weights. The weights are read once, from memory, in blocks of kBlock
// products by kPanels panels, which are packed into the second-level cache for all images.
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
  LinearProduct(const LinearShape& shape, const float* x, ptrdiff_t x_pitch, const float* weight, bool turned,
                const Epilogue& epilogue, ptrdiff_t y_pitch)
      : shape_(shape),
        x_(x),
        weight_(weight),
        x_pitch_(x_pitch),
        y_pitch_(y_pitch),
        turned_(turned),
        epilogue_(epilogue) {
    tiles_[0] = shape.N > 0 ? (shape.columns + kTileColumns - 1) / kTileColumns : 0;
  }

 protected:
  void tile(int, int index, float*) override {
    const int first = index * kTileColumns, left = shape_.columns - first;
    const int columns = left < kTileColumns ? left : kTileColumns;
    for (int n = 0; n < shape_.N; n += kImages) {
      many_images(first, columns, n, shape_.N - n < kImages ? shape_.N - n : kImages);
    }
  }

 private:
  static constexpr int kPanels = 4, kBlock = 512, kImages = 256;
  static constexpr int kTileColumns = kPanels * kColumns;

  void many_images(int first, int columns, int n, int images) const;

  LinearShape shape_;
  const float *x_, *weight_;
  ptrdiff_t x_pitch_, y_pitch_;
  bool turned_;
  Epilogue epilogue_;
};

inline void LinearProduct::many_images(int first, int columns, int n, int images) const {
  // x is copied to lines 16 floats longer than a block: at a power of two all of them would share a few cache lines.
  constexpr ptrdiff_t kLine = kBlock + 16;
  const int panels = (columns + kColumns - 1) / kColumns;
  float* c =
      scratch(static_cast<size_t>(panels) * kColumns * images + kLine * images + size_t{kBlock} * panels * kColumns);
  float* lines = c + static_cast<ptrdiff_t>(panels) * kColumns * images;  // c is [panel, image, kColumns]
  float* packed = lines + kLine * images;
  const Pieces rows(images, kRows);
  for (int k = 0; k < shape_.products; k += kBlock) {
    const int count = shape_.products - k < kBlock ? shape_.products - k : kBlock;
    for (int i = 0; i < images; ++i) {
      std::memcpy(lines + i * kLine, x_ + (n + i) * x_pitch_ + k, static_cast<size_t>(count) * sizeof(float));
    }
    for (int panel = 0; panel < panels; ++panel) {
      const int j = panel * kColumns, left = columns - j < kColumns ? columns - j : kColumns;
      float* b = packed + static_cast<ptrdiff_t>(panel) * kBlock * kColumns;
      if (turned_) {
        pack_columns(weight_ + k * shape_.weight_pitch + first + j, shape_.weight_pitch, left, count, b);
      } else {
        pack_rows(weight_ + (first + j) * shape_.weight_pitch + k, shape_.weight_pitch, left, count, b);
      }
    }
    for (int row = 0; row < rows.pieces; ++row) {
      for (int panel = 0; panel < panels; ++panel) {
        float* sums = c + (static_cast<ptrdiff_t>(panel) * images + rows.begin(row)) * kColumns;
        kernel<true>(rows.size(row), columns - panel * kColumns)(
            1, count, {lines + rows.begin(row) * kLine, 0, 1, kLine},
            {packed + static_cast<ptrdiff_t>(panel) * kBlock * kColumns, 0, kColumns}, sums, k > 0);
      }
    }
  }
  if (shape_.products == 0) std::memset(c, 0, sizeof(float) * panels * kColumns * images);
  for (int panel = 0; panel < panels; ++panel) {
    const int j = panel * kColumns, left = columns - j < kColumns ? columns - j : kColumns;
    store_tile(epilogue_, c + static_cast<ptrdiff_t>(panel) * images * kColumns, kColumns, images, left,
               n * y_pitch_ + first + j, y_pitch_, first + j);
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
