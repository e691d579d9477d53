#pragma once

#include <algorithm>
#include <array>

#include "base/time.h"

namespace sollol::cluster {

/// What an `Estimate` knows, to be kept over a restart.
struct KeptEstimate {
  double value = 0;    // 0: nothing is known
  double spread = 0;   // standard deviation of its logarithm, as measured
  double samples = 0;  // measurements that it rests on
  TimePoint at{};      // of the last of them; before this process began: a time before its clock's
  bool operator==(const KeptEstimate&) const = default;
};

/// What is known of a positive quantity that is measured now and then: the mean of its logarithm,
/// and how far single measurements lie from it.
///
/// The first measurements count alike, later ones against a memory of `samples_kept` of them. One
/// that lies further away than luck explains moves the mean no more than luck would; several in a
/// row on the same side say that the quantity itself has changed, and it starts anew from them.
/// Told the time; no lock.
class Estimate {
 public:
  static constexpr double samples_kept = 24;
  static constexpr double outlier_spreads = 3;
  static constexpr double spread_floor = 0.05;  // of the logarithm: no measurement is better
  static constexpr unsigned agree_to_change = 3;
  static constexpr Duration half_life = std::chrono::hours(24);  // of what was measured

  /// True: the quantity has changed, and what is known begins anew with this.
  bool observe(double value, TimePoint now);
  KeptEstimate kept() const noexcept;
  /// Takes up what was kept; what makes no sense is left out.
  void restore(const KeptEstimate& kept);

  /// The last measurements lie too far from the rest: the next may say that it has changed.
  bool wavers() const noexcept { return astray_ != 0; }
  bool known() const noexcept { return weight_ > 0; }
  /// 0 while nothing is known.
  double value() const noexcept;
  /// Standard deviation of the logarithm of one measurement.
  double spread() const noexcept;
  /// What lies so many of them above the mean; 0 while nothing is known.
  double above(double spreads) const noexcept;
  /// Measurements that it rests on, older ones counting less.
  double weight(TimePoint now) const noexcept;
  /// The same at the last of them.
  double samples() const noexcept { return weight_; }

 private:
  double mean_ = 0;      // of the logarithm
  double variance_ = 0;  // of it
  double weight_ = 0;
  TimePoint at_{};  // of the last
  int astray_ = 0;  // outliers in a row; negative: below the mean
};

/// What a `TokenTime` knows, to be kept over a restart.
struct KeptTokenTime {
  double alone_s = 0;  // 0: nothing is known
  double share = 0;
  double device_share = 0;
  KeptEstimate error{};  // measured to expected
  std::array<double, 9> sums{};
  bool operator==(const KeptTokenTime&) const = default;
};

/// How long a token takes by what runs beside it: seconds = alone * (1 + share * (k - 1) +
/// device_share * n) with k streams in its batch and n of other models and nodes on its device.
/// That is how a batch behaves whose weights are read once for all of them, and whose attention is
/// not, and a device on which others take their turns.
///
/// Least squares of the relative error over what was measured, older measurements counting less,
/// with a guess of each share that weighs as much as `guess_weight` measurements: of the order of a
/// measurement's variance to that of the shares themselves.
class TokenTime {
 public:
  static constexpr double share_guess = 0.25;
  static constexpr double device_share_guess = 1;  // they take turns
  static constexpr double share_max = 4;           // of both
  static constexpr double guess_weight = 0.1;
  static constexpr double samples_kept = 48;  // three quantities need more than one

  /// `streams`: in its batch on average, itself included; `neighbours`: others on its device. True:
  /// it has changed, and what is known begins anew.
  bool observe(double seconds_per_token, double streams, double neighbours, TimePoint now);
  KeptTokenTime kept() const noexcept;
  /// Takes up what was kept; what makes no sense is left out.
  void restore(const KeptTokenTime& kept);

  bool wavers() const noexcept { return astray_ != 0; }
  bool known() const noexcept { return alone_s_ > 0; }
  double alone_s() const noexcept { return alone_s_; }
  double share() const noexcept { return share_; }
  double device_share() const noexcept { return device_share_; }
  /// How many times as long a token takes as alone.
  double times_alone(double streams, double neighbours) const noexcept {
    return 1 + share_ * std::max(streams - 1, 0.0) + device_share_ * neighbours;
  }
  double weight(TimePoint now) const noexcept { return error_.weight(now); }
  double samples() const noexcept { return error_.samples(); }
  double spread() const noexcept { return error_.spread(); }

 private:
  void take(double seconds_per_token, double streams, double neighbours);
  void solve();

  Estimate error_;  // measured to expected
  double alone_s_ = 0;
  double share_ = share_guess;
  double device_share_ = device_share_guess;
  // Of weight * {1, x, x^2, y, xy, n, n^2, xn, ny} with x = k - 1 and y = seconds for a token.
  struct Sums {
    double one = 0, x = 0, xx = 0, y = 0, xy = 0, n = 0, nn = 0, xn = 0, ny = 0;
  } sums_;
  int astray_ = 0;  // far from what was expected, in a row
};

}  // namespace sollol::cluster
