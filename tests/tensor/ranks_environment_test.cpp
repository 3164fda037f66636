// What the variables of torchrun, Slurm and Open MPI say of a process, and what is said where they are wrong.
#include "tensor/ranks/environment.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "tests/harness/message.h"

namespace om {
namespace {

using test::message;

std::optional<ranks::Launch> launched(const std::map<std::string, std::string>& variables) {
  return ranks::launch_of([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(RanksEnvironment, KnowsTheLaunchers) {
  EXPECT_FALSE(launched({}).has_value());
  EXPECT_FALSE(launched({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).has_value());
  // a batch script of Slurm's is one process, whatever it has reserved
  EXPECT_FALSE(launched({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "7"}}).has_value());

  const auto torchrun = launched({{"RANK", "5"},
                                  {"WORLD_SIZE", "8"},
                                  {"LOCAL_RANK", "1"},
                                  {"LOCAL_WORLD_SIZE", "4"},
                                  {"MASTER_ADDR", "node7"},
                                  {"MASTER_PORT", "29500"},
                                  {"SLURM_PROCID", "2"},
                                  {"SLURM_STEP_NUM_TASKS", "3"}});
  ASSERT_TRUE(torchrun.has_value());
  EXPECT_EQ(torchrun->by, "torchrun");
  EXPECT_EQ(torchrun->rank, 5);
  EXPECT_EQ(torchrun->size, 8);
  EXPECT_EQ(torchrun->local_rank, 1);
  EXPECT_EQ(torchrun->local_size, 4);
  EXPECT_EQ(torchrun->hub.text(), "node7:29500");
  EXPECT_FALSE(torchrun->hub_apart);

  const auto slurm = launched({{"SLURM_PROCID", "3"},
                               {"SLURM_STEP_NUM_TASKS", "4"},
                               {"SLURM_LOCALID", "1"},
                               {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"},
                               {"SLURM_STEP_NODELIST", "gpu[03-05,9],x"},
                               {"SLURM_JOB_ID", "77"},
                               {"SLURM_STEP_ID", "0"},
                               {"OMPI_COMM_WORLD_RANK", "1"},
                               {"OMPI_COMM_WORLD_SIZE", "2"}});
  ASSERT_TRUE(slurm.has_value());
  EXPECT_EQ(slurm->by, "Slurm");
  EXPECT_EQ(slurm->rank, 3);
  EXPECT_EQ(slurm->size, 4);
  EXPECT_EQ(slurm->local_rank, 1);
  EXPECT_EQ(slurm->local_size, 2);
  EXPECT_EQ(slurm->hub.host, "gpu03");
  EXPECT_GE(slurm->hub.port, 20000);
  EXPECT_LT(slurm->hub.port, 32000);

  const auto mpi = launched({{"OMPI_COMM_WORLD_RANK", "1"},
                             {"OMPI_COMM_WORLD_SIZE", "2"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                             {"OMPI_MCA_ess_base_jobid", "12345"}});
  ASSERT_TRUE(mpi.has_value());
  EXPECT_EQ(mpi->by, "Open MPI");
  EXPECT_EQ(mpi->local_rank, 1);
  EXPECT_EQ(mpi->hub.host, "127.0.0.1");
}

TEST(RanksEnvironment, WhatIsMissingOrMakesNoSenseIsNamed) {
  const auto said = [](const std::map<std::string, std::string>& variables) {
    return message([&] { launched(variables); });
  };
  EXPECT_EQ(said({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "1"}}),
            "MASTER_ADDR is missing: torchrun says that this is rank 1 of 2, not where they meet");
  EXPECT_EQ(said({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}),
            "MASTER_PORT is missing: the port at a where the ranks meet");
  EXPECT_EQ(said({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), "RANK expects a number from 0 to 1, got '2'");
  EXPECT_EQ(said({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), "RANK expects a number from 0 to 1, got 'x'");
  EXPECT_EQ(said({{"RANK", "0"}, {"WORLD_SIZE", "2x"}}),
            "WORLD_SIZE expects a number from 1 to 65536, got '2x'");
  EXPECT_EQ(said({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}}),
            "MASTER_PORT expects a number from 1 to 65535, got '70000'");
}

TEST(RanksEnvironment, FirstNodeOfAList) {
  EXPECT_EQ(ranks::first_node("node3"), "node3");
  EXPECT_EQ(ranks::first_node("a,b"), "a");
  EXPECT_EQ(ranks::first_node("gpu[03-05,9],x"), "gpu03");
  EXPECT_EQ(ranks::first_node("gpu[7]"), "gpu7");
  EXPECT_EQ(ranks::first_node("head,gpu[1-2]"), "head");
}

}  // namespace
}  // namespace om
