// ruckig's C++ on seven axes: tasks in; out the times in us of each calculation, then of runs of evaluations.
#include <ruckig/ruckig.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <vector>
using Clock = std::chrono::steady_clock;
constexpr size_t N = 7;
int main(int, char** argv) {
    std::ifstream in(argv[1], std::ios::binary);
    std::ofstream out(argv[2], std::ios::binary);
    const int repeats = atoi(argv[3]), runs = atoi(argv[4]), run = atoi(argv[5]);
    int64_t count;
    in.read(reinterpret_cast<char*>(&count), 8);
    std::vector<double> x(count * 64);
    in.read(reinterpret_cast<char*>(x.data()), x.size() * 8);
    std::vector<ruckig::InputParameter<N>> tasks(count);
    for (int64_t i = 0; i < count; i++) {
        auto& t = tasks[i];
        for (size_t k = 0; k < N; k++) {
            const double* s = &x[i * 64 + k];
            t.current_position[k] = s[0]; t.current_velocity[k] = s[8]; t.current_acceleration[k] = s[16];
            t.target_position[k] = s[24]; t.target_velocity[k] = s[32]; t.target_acceleration[k] = 0.0;
            t.max_velocity[k] = s[40]; t.max_acceleration[k] = s[48]; t.max_jerk[k] = s[56];
        }
    }
    const auto write = [&](Clock::duration d, int n) {
        const double us = std::chrono::duration<double, std::micro>(d).count() / n;
        out.write(reinterpret_cast<const char*>(&us), 8);
    };
    ruckig::Ruckig<N> planner;
    ruckig::Trajectory<N> trajectory;
    for (int r = 0; r < repeats; r++)
        for (int64_t i = 0; i < count; i++) {
            const auto begin = Clock::now();
            planner.calculate(tasks[i], trajectory);
            write(Clock::now() - begin, 1);
        }
    std::array<double, N> p, v, a;
    double sum = 0.0;
    const double dt = trajectory.get_duration() / (runs * run);
    for (int k = 0; k < runs; k++) {
        const auto begin = Clock::now();
        for (int m = k * run; m < (k + 1) * run; m++) { trajectory.at_time(m * dt, p, v, a); sum += p[0]; }
        write(Clock::now() - begin, run);
    }
    return sum == 0.123;
}
