// NVIDIA's pickles: whole generators of one channel, and pieces small enough to be mutated at every byte.
#include "io/parameters.h"
#include "models/stylegan2.h"
#include "tensor/registry.h"
#include "tests/fuzz/seeds.h"
#include "tests/io/nvidia_pickles.h"

namespace om::fuzz {

std::vector<Seed> nvidia_seeds() {
  StyleGan2Config config;
  config.z_width = config.latent_width = 1;
  config.mapping_layers = 1;
  config.constant_channels = 1;
  config.channels = {1, 1};
  config.latent_average = true;
  const StyleGan2 generator(config, Placement{backend("reference")});
  const test::Tensors tensors = to_file(generator);
  const test::AdaObject ada = test::ada_generator(tensors);
  const std::string tf = test::tf_generator(tensors);

  test::AdaObject layer{"FullyConnectedLayer", {}, {}, {{"lr_multiplier", test::p_real(0.01)}}};
  layer.tensors["weight"] = make_file_tensor({1, 2}, std::vector<float>{1, 2});
  const test::AdaObject mapping{"MappingNetwork", {}, {{"fc0", layer}}, {{"c_dim", test::p_int(0)}}};
  const std::string array = test::p_array(make_file_tensor({2, 1}, std::vector<float>{1, -2}));
  const std::string network =
      test::p_tf_network("G_mapping", {{"label_size", test::p_int(0)}}, {{"Dense0/weight", array}}, {});
  return {
      {"ada", test::ada_file(ada, ada)},
      {"ada_mapping", test::pickled(test::p_dict({{"G_ema", mapping.pickle()}}))},
      {"ada_classes",
       test::pickled(test::p_dict({{"G", test::ada_generator(tensors, {.c_dim = 10}).pickle()}})), false},
      {"tf", test::tf_file(tf, tf)},
      {"tf_mapping", test::tf_file(network, test::p_tf_network("Gs", {}, {}, {{"mapping", network}}))},
      {"array",
       test::pickled(test::p_dict(
           {{"a", array}, {"f", test::p_array(make_file_tensor({1, 1}, std::vector<float>{3}), true)}}))}};
}

}  // namespace om::fuzz
