// The functions of NCCL that a communicator needs, opened when the first one is made (library.h): a program
// that runs on one card needs no NCCL. What its header says of types and numbers is said here again, so that
// building needs none either; they are the same in all of NCCL 2.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "tensor/dtype.h"
#include "tensor/library.h"

namespace om::cuda {

struct NcclComm;  // ncclComm

struct NcclId {  // ncclUniqueId, which is passed by value
  char bytes[128];
};

enum NcclResult : int { kNcclSuccess = 0 };  // others have names: error_string
enum NcclType : int { kNcclU8 = 1, kNcclF32 = 7, kNcclF64 = 8 };
enum NcclOp : int { kNcclSum = 0 };

struct Nccl : Library {
  Nccl();
  NcclResult (*version)(int*) = find("ncclGetVersion");
  const char* (*error_string)(NcclResult) = find("ncclGetErrorString");
  const char* (*last_error)(NcclComm*) = find("ncclGetLastError");
  NcclResult (*unique_id)(NcclId*) = find("ncclGetUniqueId");
  NcclResult (*init_rank)(NcclComm**, int ranks, NcclId id, int rank) = find("ncclCommInitRank");
  NcclResult (*all_reduce)(const void*, void*, std::size_t, NcclType, NcclOp, NcclComm*,
                           cudaStream_t) = find("ncclAllReduce");
  NcclResult (*broadcast)(const void*, void*, std::size_t, NcclType, int root, NcclComm*,
                          cudaStream_t) = find("ncclBroadcast");
  NcclResult (*group_start)() = find("ncclGroupStart");
  NcclResult (*group_end)() = find("ncclGroupEnd");
  NcclResult (*destroy)(NcclComm*) = find("ncclCommDestroy");
  NcclResult (*abort)(NcclComm*) = find("ncclCommAbort");
};

/// Error naming where it was looked for and the packages that hold it, where it is missing.
const Nccl& nccl();

/// 22809 is 2.28.9.
int nccl_version();

}  // namespace om::cuda
