#include "train/unreadable.h"

namespace om {
namespace {

constexpr const char* kAbout = "unreadable";

}  // namespace

void UnreadablePictures::add(const std::string& why) {
  if (!named_.insert(why).second) return;
  if (ranks_.first())
    log_(why + " (skipped)");
  else
    ranks_.tell(kAbout, why);
}

void UnreadablePictures::add(const std::vector<std::string>& all) {
  for (const std::string& why : all) add(why);
  hear();
}

void UnreadablePictures::hear() {
  for (const auto& [about, line] : ranks_.told())
    if (about == kAbout) add(line);
}

}  // namespace om
