#include "train/run_ranks.h"

#include <sstream>

#include "tensor/ranks/member.h"

namespace om {

RunRanks::RunRanks(ranks::Member* member, Communicator* together) : member_(member), together_(together) {
  if ((member == nullptr) != (together == nullptr)) fail("train: ranks need a member and a communicator");
  if (member == nullptr) return;
  rank_ = member->rank();
  size_ = member->size();
}

std::string RunRanks::share(const std::string& text) const { return several() ? member_->share(text) : text; }

std::vector<std::string> RunRanks::gather(const std::string& text) {
  if (!several()) return {text};
  const std::string prefix = om::text("gathered/", gathered_++, "/");
  if (!first()) {
    member_->set(prefix + std::to_string(rank_), text);
    return {};
  }
  std::vector<std::string> all = {text};
  for (int rank = 1; rank < size_; ++rank) all.push_back(member_->get(prefix + std::to_string(rank)));
  return all;
}

void RunRanks::expect_same(const std::string& mine, const std::string& what) const {
  if (share(mine) != mine) fail<InputError>("rank ", rank_, ": ", what, " than on rank 0");
}

void RunRanks::tell(const std::string& about, const std::string& line) const {
  if (several()) member_->tell(about, line);
}

std::vector<std::pair<std::string, std::string>> RunRanks::told() const {
  return several() ? member_->told() : std::vector<std::pair<std::string, std::string>>();
}

void RunRanks::check() const {
  if (several()) member_->check();
}

bool RunRanks::stops_at(std::int64_t done, bool wish) const {
  if (!several()) return wish;
  if (wish) member_->wish_to_stop();
  return member_->stops_at(done);
}

void RunRanks::broadcast(const std::vector<Tensor>& tensors) const {
  if (!several()) return;
  together_->broadcast(tensors, 0);
  together_->join();
}

void RunRanks::broadcast(const Autoencoder& model, Adam& adam) const {
  if (!several()) return;
  std::vector<Adam::State> states = adam.state();
  std::string steps;
  for (const Adam::State& state : states) steps += text(state.steps, ' ');
  std::istringstream numbers(share(first() ? steps : ""));
  if (!first()) {
    for (std::size_t i = 0; i < states.size(); ++i) {
      const Tensor& parameter = adam.parameters()[i];
      if (!(numbers >> states[i].steps)) fail("rank ", rank_, ": rank 0 has fewer weights");
      if (states[i].steps == 0) continue;
      states[i].first = Tensor::zeros(parameter.shape(), parameter.dtype(), parameter.backend());
      states[i].second = states[i].first.clone();
    }
    adam.set_state(states);
    states = adam.state();
  }
  std::vector<Tensor> tensors;
  for (const Autoencoder::Part& part : model.encoders())
    for (const Entry& entry : part.encoder->entries()) tensors.push_back(entry.value);
  for (const Adam::State& state : states)
    if (state.steps > 0) tensors.insert(tensors.end(), {state.first, state.second});
  broadcast(tensors);
}

void RunRanks::broadcast_statistics(const Autoencoder& model) const {
  std::vector<Tensor> tensors;
  for (const Autoencoder::Part& part : model.encoders())
    for (const Entry& entry : part.encoder->entries())
      if (entry.role == Role::buffer) tensors.push_back(entry.value);
  broadcast(tensors);
}

void RunRanks::broadcast(TrainingState& state, std::int64_t& saved) const {
  if (!several()) return;
  std::istringstream words(share(text(state.iteration, ' ', state.position, ' ', state.random.seed, ' ',
                                      state.random.draw, ' ', state.settled, ' ', saved)));
  if (!(words >> state.iteration >> state.position >> state.random.seed >> state.random.draw >>
        state.settled >> saved))
    fail("rank ", rank_, ": rank 0 does not say where the run stands");
}

}  // namespace om
