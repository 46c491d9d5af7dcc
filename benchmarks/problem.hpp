// What the C++ programs share: reading an arm with its questions, timing runs, and writing times and answers.
// Numbers come as text in the order of robots.write_problem; tables go out as raw doubles, each after its name and size.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

struct Joint {
    bool prismatic;
    double low, high;
    double placement[12];  // T from the joint frame before, upper three rows
    double mass, com[3], inertia[9];
};

struct Problem {
    int n, count;
    std::vector<int> pose_counts;
    std::vector<Joint> joints;
    double tip[12], gravity[3];
    std::vector<double> Q;      // count x n
    std::vector<double> start;  // of the path, n
    std::vector<std::vector<double>> poses;  // 12 numbers each

    Problem(const char *path, int lists) {
        std::ifstream file(path);
        auto read = [&file](double *to, int n) {
            std::string word;
            for (int i = 0; i < n; i++) {
                file >> word;
                to[i] = std::strtod(word.c_str(), nullptr);
            }
        };
        auto whole = [&read]() {
            double value;
            read(&value, 1);
            return static_cast<int>(value);
        };
        n = whole();
        count = whole();
        for (int i = 0; i < lists; i++) pose_counts.push_back(whole());
        for (int i = 0; i < n; i++) {
            Joint joint;
            joint.prismatic = whole() != 0;
            read(&joint.low, 1);
            read(&joint.high, 1);
            read(joint.placement, 12);
            read(&joint.mass, 1);
            read(joint.com, 3);
            read(joint.inertia, 9);
            joints.push_back(joint);
        }
        read(tip, 12);
        read(gravity, 3);
        Q.resize(count * n);
        read(Q.data(), count * n);
        start.resize(n);
        read(start.data(), n);
        for (int k : pose_counts) {
            poses.emplace_back(12 * k);
            read(poses.back().data(), 12 * k);
        }
        if (!file) {
            std::fprintf(stderr, "%s ends too early\n", path);
            std::exit(1);
        }
    }
};

inline double now() {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline void write_table(const std::string &name, const std::vector<double> &values) {
    std::printf("%s %zu\n", name.c_str(), values.size());
    std::fwrite(values.data(), sizeof(double), values.size(), stdout);
}

// Time runs of `run` calls over the inputs, in µs per call: what is timed from Python for compiled loops.
template <class Call>
std::vector<double> time_runs(int runs, int run, int inputs, Call call) {
    std::vector<double> times(runs);
    for (int k = 0; k < runs; k++) {
        int first = (k % (inputs / run)) * run;
        double begin = now();
        for (int i = first; i < first + run; i++) call(i);
        times[k] = (now() - begin) / run;
    }
    return times;
}
