#include "sim/routes.h"
namespace sollol::sim {
std::span<const Route> anthropic_routes() { return {}; }
}
