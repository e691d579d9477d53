#pragma once

#include <CLI/App.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace sollol::cli {

inline constexpr Duration answer_limit = std::chrono::seconds(10);

/// Which gateway a command asks, and how it shows the answer.
struct Asking {
  std::string gateway;
  bool as_json = false;
};

void add_asking_flags(CLI::App& app, Asking& asking);

/// Says that no gateway answers there; the exit code.
int complain(const std::string& gateway, const Error& error);

/// Asks, complains about what goes wrong, and hands a good answer to `print`, which gives the exit
/// code; with `as_json` it is printed as it is.
int ask(const Asking& asking, std::string method, const std::string& path, std::string body,
        const std::function<int(const boost::json::object&)>& print);

}  // namespace sollol::cli
