#pragma once

namespace sollol {

inline constexpr const char* version = "0.1.0";

}  // namespace sollol
