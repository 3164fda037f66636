#include "train/precision_choice.h"

#include "io/bytes.h"
#include "tensor/error.h"

namespace om {

Precision precision_named(const std::string& word) {
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
    if (word == name_of(precision)) return precision;
  fail<UsageError>("'precision' must be fp32, tf32 or bf16, got '", printable(word), "'");
}

Precision default_precision(const Backend& backend) {
  return backend.supports(Math::tf32) ? Precision::tf32 : Precision::fp32;
}

Precision precision_on(Precision wanted, const Backend& backend) {
  if (wanted == Precision::bf16 && !backend.supports(DType::bf16))
    fail<UsageError>("precision bf16: this device does not have it (", backend.description(), ")");
  return wanted == Precision::tf32 && !backend.supports(Math::tf32) ? Precision::fp32 : wanted;
}

std::string precision_header(Precision wanted, const Backend& backend) {
  const Precision precision = precision_on(wanted, backend);
  std::string device = backend.description();
  if (!device.starts_with(text(backend.name(), ": "))) device = text(backend.name(), ": ", device);
  return text(device, "; precision ", name_of(precision),
              precision == wanted ? "" : text(", since it has no ", name_of(wanted)));
}

}  // namespace om
