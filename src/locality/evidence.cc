#include "locality/evidence.h"

#include <utility>

namespace sollol::locality {

std::string_view name(EvidenceKind kind) noexcept {
  switch (kind) {
    case EvidenceKind::operator_host:
      return "operator_host";
    case EvidenceKind::operator_device:
      return "operator_device";
    case EvidenceKind::machine_id:
      return "machine_id";
    case EvidenceKind::boot_id:
      return "boot_id";
    case EvidenceKind::gpu_uuid:
      return "gpu_uuid";
    case EvidenceKind::address:
      return "address";
    case EvidenceKind::this_machine:
      return "this_machine";
    case EvidenceKind::mac:
      return "mac";
    case EvidenceKind::container_network:
      return "container_network";
    case EvidenceKind::model_store:
      return "model_store";
    case EvidenceKind::contention:
      return "contention";
    case EvidenceKind::hostname:
      return "hostname";
  }
  std::unreachable();
}

std::string_view name(Scope scope) noexcept { return scope == Scope::host ? "host" : "device"; }

std::string_view name(Standing standing) noexcept {
  switch (standing) {
    case Standing::joins:
      return "joins";
    case Standing::agrees:
      return "agrees";
    case Standing::separates:
      return "separates";
    case Standing::overruled:
      return "overruled";
    case Standing::hint:
      return "hint";
  }
  std::unreachable();
}

}  // namespace sollol::locality
