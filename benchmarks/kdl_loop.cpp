// Orocos KDL called from C++: forward kinematics, Jacobian and inverse kinematics.
#include <kdl/chain.hpp>
#include <kdl/chainfksolverpos_recursive.hpp>
#include <kdl/chainfksolvervel_recursive.hpp>
#include <kdl/chainiksolverpos_nr_jl.hpp>
#include <kdl/chainiksolvervel_pinv.hpp>
#include <kdl/chainjnttojacsolver.hpp>

#include <random>

#include "problem.hpp"

static KDL::Frame frame(const double *r) {
    return KDL::Frame(KDL::Rotation(r[0], r[1], r[2], r[4], r[5], r[6], r[8], r[9], r[10]), KDL::Vector(r[3], r[7], r[11]));
}

int main(int, char **arguments) {
    Problem problem(arguments[1], 2);
    const int runs = std::atoi(arguments[2]), run = std::atoi(arguments[3]), n = problem.n;
    const int iterations = 100, starts = 100;
    const double tolerance = 3e-7;  // of each entry, so that the norms are below 1e-6
    // A segment is a joint followed by a fixed transform: the next joint's placement. The first one is a fixed segment.
    KDL::Chain chain;
    chain.addSegment(KDL::Segment(KDL::Joint(KDL::Joint::None), frame(problem.joints[0].placement)));
    KDL::JntArray low(n), high(n), q(n), answer(n);
    for (int i = 0; i < n; i++) {
        const Joint &joint = problem.joints[i];
        const double *next = i + 1 < n ? problem.joints[i + 1].placement : problem.tip;
        chain.addSegment(
            KDL::Segment(KDL::Joint(joint.prismatic ? KDL::Joint::TransZ : KDL::Joint::RotZ), frame(next)));
        low(i) = joint.low;
        high(i) = joint.high;
    }
    KDL::ChainFkSolverPos_recursive fk(chain);
    KDL::ChainJntToJacSolver jac(chain);
    KDL::ChainIkSolverVel_pinv velocity(chain);
    KDL::ChainIkSolverPos_NR_JL ik(chain, low, high, fk, velocity, iterations, tolerance);
    std::vector<KDL::JntArray> Q;
    for (int i = 0; i < problem.count; i++) {
        KDL::JntArray one(n);
        for (int k = 0; k < n; k++) one(k) = problem.Q[i * n + k];
        Q.push_back(one);
    }
    KDL::Frame T;
    KDL::Jacobian J(n);
    auto forward = [&](int i) { fk.JntToCart(Q[i], T); };
    auto jacobian = [&](int i) { jac.JntToJac(Q[i], J); };
    auto both = [&](int i) {
        fk.JntToCart(Q[i], T);
        jac.JntToJac(Q[i], J);
    };
    std::vector<double> poses, matrices;
    for (int i = 0; i < problem.count; i++) {
        both(i);
        for (int r = 0; r < 4; r++)
            for (int c = 0; c < 4; c++) poses.push_back(T(r, c));
        for (int r = 0; r < 6; r++)
            for (int c = 0; c < n; c++) matrices.push_back(J(r, c));
    }
    write_table("T", poses);
    write_table("J", matrices);
    write_table("forward_us", time_runs(runs, run, problem.count, forward));
    write_table("jacobian_us", time_runs(runs, run, problem.count, jacobian));
    write_table("both_us", time_runs(runs, run, problem.count, both));

    // Cold: from mid-range, then from random starts. Warm: each pose from the answer before.
    std::mt19937 generator(1);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    for (int list = 0; list < 2; list++) {
        std::vector<double> answers, times;
        for (int k = 0; k < n; k++) q(k) = problem.start[k];
        for (int i = 0; i < problem.pose_counts[list]; i++) {
            const KDL::Frame goal = frame(&problem.poses[list][12 * i]);
            double begin = now();
            int status = -1;
            for (int attempt = 0; attempt < (list == 0 ? starts : 1) && status < 0; attempt++) {
                if (list == 0)
                    for (int k = 0; k < n; k++) {
                        double part = attempt == 0 ? 0.5 : uniform(generator);
                        q(k) = low(k) + part * (high(k) - low(k));
                    }
                status = ik.CartToJnt(q, goal, answer);
            }
            times.push_back(now() - begin);
            for (int k = 0; k < n; k++) answers.push_back(status < 0 ? 1e9 : answer(k));
            if (list == 1 && status >= 0) q = answer;
        }
        write_table(list == 0 ? "Q_cold" : "Q_warm", answers);
        write_table(list == 0 ? "cold_us" : "warm_us", times);
    }
}
