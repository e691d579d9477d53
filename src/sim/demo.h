#pragma once

#include "sim/spec.h"

namespace sollol::sim {

/// Three machines of a home or small office, for `sollol up` without nodes: fast, medium and slow,
/// on free loopback ports, in real time.
FleetConfig demo_fleet();

}  // namespace sollol::sim
