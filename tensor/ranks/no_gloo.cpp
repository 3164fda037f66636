// What stands in for Gloo where configure found none.
#include "tensor/error.h"
#include "tensor/ranks/gloo.h"

namespace om::ranks {

std::unique_ptr<Communicator> make_gloo(Backend& backend, Member&) {
  fail(backend.name(),
       ": several ranks need Gloo, which this program was built without (package libgloo-dev; ",
       "configure again once it is there)");
}

}  // namespace om::ranks
