// A model as a graph of its layers, read off what its ops record when one picture goes through: which layer
// feeds which, in what shapes. And the derivative graph of a training step: through which of them the
// gradient of the loss comes to the encoder's parameters.
//
// An op belongs to the layer whose parameters it takes. One that takes none belongs to the layer whose only
// follower it is (a relu after a norm), else to that which alone follows it, else, where several come
// together (a shortcut's sum), to the block that they share, or it is a box of its own. A layer's block is
// its place in the network: "resnet_blocks.3", "convs.5", "to_rgb1".
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/dot.h"
#include "io/model_file.h"

namespace om {

struct LayerBox {
  std::string network;           ///< "encoder", "decoder", ..; "" for inputs and the loss
  std::string block, layer;      ///< "resnet_blocks.3", "conv1"; layer "" is the block itself
  std::vector<std::string> ops;  ///< each once, in their order
  std::size_t op_count = 0;      ///< of all
  std::vector<std::pair<std::string, Shape>> parameters;  ///< names within the layer, shapes as in memory
  std::vector<Shape> outputs;                             ///< what others take of it, each shape once
};

struct LayerGraph {
  std::vector<LayerBox> boxes;
  std::vector<std::pair<std::size_t, std::size_t>> edges;  ///< places in boxes, each pair once
};

/// From the picture (a generator alone: z) to what comes out, shapes [N, H, W, C] of one picture. The model
/// is used up; it should lie on a dry backend (tensor/dry.h), where nothing is computed.
LayerGraph layer_graph(Model model, Backend& backend);

/// The gradient's way, from the loss to the encoder's parameters: edges run as it does, and a box's outputs
/// are those whose gradients are formed. InputError where the model lacks encoder or generator.
LayerGraph derivative_graph(Model model, Backend& backend);

/// As it is drawn.
DotGraph drawing_of(const LayerGraph& graph, const std::string& title);

}  // namespace om
