// tensor/cpu is compiled for one level of x86-64 (ONEMODEL_ARCH); this asks at run time whether the machine
// has it. Programs call it before anything else, since any later call may meet an instruction that an older
// processor lacks.
#pragma once

namespace om {

/// Throws Error with one line where this processor lacks an instruction set that the program was built for.
/// Only the levels x86-64-v2, -v3 and -v4 are known; any other ONEMODEL_ARCH is not checked.
void require_processor();

/// The level by name, "baseline" where none was set.
const char* processor_level();

}  // namespace om
