#include "sim/routes.h"
namespace sollol::sim {
std::span<const Route> openai_routes() { return {}; }
}
