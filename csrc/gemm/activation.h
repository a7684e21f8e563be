// What a layer applies to its sums.
#pragma once

#include <stdexcept>
#include <string>

namespace alexnet {

enum class Activation : int { kNone, kRelu, kTanh };

inline Activation parse_activation(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "tanh") return Activation::kTanh;
  throw std::invalid_argument("activation is \"" + name + "\"; expected none, relu or tanh");
}

}  // namespace alexnet
