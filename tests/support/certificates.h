#pragma once

#include <memory>
#include <string>
#include <vector>

namespace sollol::test {

/// A certificate and its key, as PEM texts.
struct Certified {
  std::string certificate;
  std::string key;
};

/// A certificate authority that exists only in the test that made it. Its keys are P-256, quick to
/// make.
class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();

  /// A certificate for these names: DNS names, or `IP:` and an address.
  Certified issue(const std::vector<std::string>& names) const;
  /// One whose time has passed.
  Certified issue_expired(const std::vector<std::string>& names) const;
  /// The authority's own certificate.
  const std::string& certificate() const { return certificate_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string certificate_;
};

}  // namespace sollol::test
