#include "cluster/speed.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace sollol::cluster {

namespace {

double decayed(double weight, Duration age) {
  return weight * std::exp2(-to_seconds(age) / to_seconds(Estimate::half_life));
}

}  // namespace

bool Estimate::observe(double value, TimePoint now) {
  if (!(value > 0) || !std::isfinite(value)) return false;
  const double seen = std::log(value);
  weight_ = weight(now);
  at_ = now;
  double away = seen - mean_;
  bool changed = false;
  // A single measurement tells nothing of the spread.
  const double most = outlier_spreads * std::max(spread(), weight_ < 2 ? 0.5 : 0.1);
  if (weight_ > 0 && std::abs(away) > most) {
    const int side = away > 0 ? 1 : -1;
    astray_ = astray_ * side > 0 ? astray_ + side : side;
    if (std::abs(astray_) >= static_cast<int>(agree_to_change)) {
      changed = true;
      weight_ = 0;
    } else {
      away = side * most;
    }
  } else {
    astray_ = 0;
  }
  if (weight_ == 0) {
    mean_ = seen;
    variance_ = 0;
    weight_ = 1;
    astray_ = 0;
    return changed;
  }
  const double part = 1 / (std::min(weight_, samples_kept - 1) + 1);
  mean_ += part * away;
  variance_ = (1 - part) * (variance_ + part * away * away);
  weight_ = std::min(weight_ + 1, samples_kept);
  return changed;
}

KeptEstimate Estimate::kept() const noexcept {
  if (!known()) return {};
  return {.value = value(), .spread = std::sqrt(variance_), .samples = weight_, .at = at_};
}

void Estimate::restore(const KeptEstimate& kept) {
  const bool sound = kept.value > 0 && std::isfinite(kept.value) && kept.samples > 0 &&
                     kept.spread >= 0 && std::isfinite(kept.spread);
  if (!sound) return;
  mean_ = std::log(kept.value);
  variance_ = kept.spread * kept.spread;
  weight_ = std::min(kept.samples, samples_kept);
  at_ = kept.at;
  astray_ = 0;
}

double Estimate::value() const noexcept { return known() ? std::exp(mean_) : 0; }

double Estimate::spread() const noexcept { return std::max(std::sqrt(variance_), spread_floor); }

double Estimate::above(double spreads) const noexcept {
  return known() ? std::exp(mean_ + spreads * spread()) : 0;
}

double Estimate::weight(TimePoint now) const noexcept {
  return weight_ > 0 ? decayed(weight_, now - at_) : 0;
}

bool TokenTime::observe(double seconds_per_token, double streams, double neighbours,
                        TimePoint now) {
  if (!(seconds_per_token > 0) || !std::isfinite(seconds_per_token)) return false;
  const double longer =
      known() ? seconds_per_token / (alone_s_ * times_alone(streams, neighbours)) : 1;
  const double most = std::exp(Estimate::outlier_spreads * std::max(error_.spread(), 0.2));
  error_.observe(longer, now);
  const double bounded = std::clamp(longer, 1 / most, most);
  astray_ = bounded == longer ? 0 : astray_ + 1;
  if (astray_ >= static_cast<int>(Estimate::agree_to_change)) {
    *this = {};  // it is another machine now
    error_.observe(1, now);
    take(seconds_per_token, streams, neighbours);
    return true;
  }
  take(seconds_per_token * bounded / longer, streams, neighbours);
  return false;
}

void TokenTime::take(double seconds_per_token, double streams, double neighbours) {
  const double beside = std::max(streams - 1, 0.0);
  const double y = seconds_per_token;
  const double expected = known() ? alone_s_ * times_alone(streams, neighbours) : y;
  const double weight = 1 / (expected * expected);
  const auto add = [&](double& sum, double value) {
    constexpr double kept = 1 - 1 / samples_kept;
    sum = sum * kept + weight * value;
  };
  add(sums_.one, 1);
  add(sums_.x, beside);
  add(sums_.xx, beside * beside);
  add(sums_.y, y);
  add(sums_.xy, beside * y);
  add(sums_.n, neighbours);
  add(sums_.nn, neighbours * neighbours);
  add(sums_.xn, beside * neighbours);
  add(sums_.ny, neighbours * y);
  solve();
}

/// Least of sum(w (y - a - c x - d n)^2) + g (c - share_guess * a)^2 + g (d - device_share_guess *
/// a)^2, where c = share * a and d = device_share * a: the normal equations, by Cramer's rule.
void TokenTime::solve() {
  const Sums& s = sums_;
  const double alone = known() ? alone_s_ : s.y / s.one;
  const double guess = guess_weight / (alone * alone);
  const double aa =
      s.one + guess * (share_guess * share_guess + device_share_guess * device_share_guess);
  const double ac = s.x - guess * share_guess;
  const double ad = s.n - guess * device_share_guess;
  const double cc = s.xx + guess;
  const double dd = s.nn + guess;
  const double cd = s.xn;
  const double a =
      s.y * (cc * dd - cd * cd) - s.xy * (ac * dd - ad * cd) + s.ny * (ac * cd - ad * cc);
  const double c =
      -s.y * (ac * dd - ad * cd) + s.xy * (aa * dd - ad * ad) - s.ny * (aa * cd - ac * ad);
  const double d =
      s.y * (ac * cd - ad * cc) - s.xy * (aa * cd - ac * ad) + s.ny * (aa * cc - ac * ac);
  // Each still to be divided by the determinant, which is above zero.
  if (!(a > 0) || !std::isfinite(a)) return;
  share_ = std::clamp(c / a, 0.0, share_max);
  device_share_ = std::clamp(d / a, 0.0, share_max);
  // With the shares bounded, the best time alone that goes with them.
  const double p = share_, q = device_share_;
  const double square =
      s.one + 2 * (p * s.x + q * s.n + p * q * s.xn) + p * p * s.xx + q * q * s.nn;
  alone_s_ = (s.y + p * s.xy + q * s.ny) / square;
}

KeptTokenTime TokenTime::kept() const noexcept {
  if (!known()) return {};
  const Sums& s = sums_;
  return {.alone_s = alone_s_,
          .share = share_,
          .device_share = device_share_,
          .error = error_.kept(),
          .sums = {s.one, s.x, s.xx, s.y, s.xy, s.n, s.nn, s.xn, s.ny}};
}

void TokenTime::restore(const KeptTokenTime& kept) {
  const auto usable = [](double sum) { return sum >= 0 && std::isfinite(sum); };
  const auto is_share = [&](double share) { return usable(share) && share <= share_max; };
  const bool sound = kept.alone_s > 0 && std::isfinite(kept.alone_s) && is_share(kept.share) &&
                     is_share(kept.device_share) && std::ranges::all_of(kept.sums, usable) &&
                     kept.sums[0] > 0;
  if (!sound) return;
  error_.restore(kept.error);
  alone_s_ = kept.alone_s;
  share_ = kept.share;
  device_share_ = kept.device_share;
  Sums& s = sums_;
  std::tie(s.one, s.x, s.xx, s.y, s.xy, s.n, s.nn, s.xn, s.ny) = std::tuple_cat(kept.sums);
  astray_ = 0;
}

}  // namespace sollol::cluster
