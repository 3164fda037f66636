// The backends this program was built with. A port adds one line to registry.cpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/backend.h"

namespace om {

/// The backend of that name ("reference", "cpu", "cuda"), made at first use and kept to the program's end.
/// UsageError naming the ones there are otherwise; Error where the device is missing.
Backend& backend(std::string_view name);

/// Another one of that name, the caller's own: on another device, say.
std::unique_ptr<Backend> make_backend(std::string_view name);

/// Names of all backends built in, usable or not.
std::vector<std::string> backend_names();

/// Number of threads that the cpu and reference backends use; 0: as many as the process may run on.
void set_threads(int threads);
int threads();

/// Which of the devices that a backend sees it takes, counted round: a rank's number on its machine. Set it
/// before the backend is made. 0: the first.
void set_device(int device);
int device();

/// A folder where a backend that times its choice of engines keeps a copy of what it chose, and looks first:
/// a run that resumes with it computes the same bits. "" (the default): the user's cache alone.
void set_plan_folder(std::string folder);
std::string plan_folder();

}  // namespace om
