#pragma once

#include <dlfcn.h>

#include <string>
#include <utility>
#include <vector>

namespace sollol {

/// A shared library that is loaded while the program runs.
///
/// It stays loaded when this goes: drivers' libraries leave threads and handlers behind.
class Library {
 public:
  /// Takes the first that can be loaded; `problem()` is the last one's otherwise.
  explicit Library(const std::vector<std::string>& names) {
    for (const auto& name : names) {
      handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_ != nullptr) return;
      const char* said = ::dlerror();
      if (said != nullptr) problem_ = said;
    }
  }

  bool loaded() const noexcept { return handle_ != nullptr; }
  const std::string& problem() const noexcept { return problem_; }

  /// Sets `function` to the symbol; null when there is none.
  template <class Function>
  bool find(const char* symbol, Function*& function) const {
    function = handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(::dlsym(handle_, symbol));
    return function != nullptr;
  }

 private:
  void* handle_ = nullptr;
  std::string problem_;
};

}  // namespace sollol
