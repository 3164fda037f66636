// A short course of training of a small model, on one rank or several: losses, weights and statistics to
// compare with another's.
#pragma once

#include <vector>

#include "train/stage.h"

namespace om::test {

struct Course {
  std::vector<double> losses;                               ///< over all ranks
  std::vector<std::vector<double>> parameters, statistics;  ///< at the end
};

/// Steps of batch `batch` on one of the ranks; null: alone. Step n shows the same images whoever shares them.
Course train_course(Communicator* together, DType dtype, Backend& backend, std::int64_t batch, int steps,
                    std::size_t bucket_bytes = kBucketBytes);

/// Relative to b, in the L2 norm; infinite where a number is none or the sizes differ. Of lists the largest.
double apart(const std::vector<double>& a, const std::vector<double>& b);
double apart(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b);

}  // namespace om::test
