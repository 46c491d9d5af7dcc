// Pinocchio called from C++: forward kinematics, Jacobian and gravity in a loop.
// Header only, so that everything is compiled for this processor.
#include <pinocchio/algorithm/frames.hpp>
#include <pinocchio/algorithm/jacobian.hpp>
#include <pinocchio/algorithm/kinematics.hpp>
#include <pinocchio/algorithm/rnea.hpp>

#include "problem.hpp"

namespace pin = pinocchio;

static pin::SE3 pose(const double *rows) {
    Eigen::Matrix3d R;
    Eigen::Vector3d t;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) R(i, j) = rows[4 * i + j];
        t(i) = rows[4 * i + 3];
    }
    return pin::SE3(R, t);
}

int main(int, char **arguments) {
    Problem problem(arguments[1], 0);
    const int runs = std::atoi(arguments[2]), run = std::atoi(arguments[3]), n = problem.n;
    pin::Model model;
    model.gravity.linear() = Eigen::Vector3d(problem.gravity);
    pin::JointIndex parent = 0;
    for (int i = 0; i < n; i++) {
        const Joint &joint = problem.joints[i];
        const std::string name = "joint" + std::to_string(i);
        if (joint.prismatic)
            parent = model.addJoint(parent, pin::JointModelPZ(), pose(joint.placement), name);
        else
            parent = model.addJoint(parent, pin::JointModelRZ(), pose(joint.placement), name);
        Eigen::Matrix3d inertia = Eigen::Map<const Eigen::Matrix3d>(joint.inertia);  // symmetric
        model.appendBodyToJoint(parent, pin::Inertia(joint.mass, Eigen::Vector3d(joint.com), inertia));
    }
    const pin::FrameIndex tip = model.addFrame(pin::Frame("tip", parent, 0, pose(problem.tip), pin::OP_FRAME));
    pin::Data data(model);
    std::vector<Eigen::VectorXd> q;
    for (int i = 0; i < problem.count; i++) q.push_back(Eigen::Map<Eigen::VectorXd>(&problem.Q[i * n], n));
    pin::Data::Matrix6x J = pin::Data::Matrix6x::Zero(6, n);
    const auto axes = pin::LOCAL_WORLD_ALIGNED;

    auto forward = [&](int i) {
        pin::forwardKinematics(model, data, q[i]);
        pin::updateFramePlacement(model, data, tip);
    };
    // Two ways to the Jacobian; each leaves the tip's pose in data.oMf, the second after one more call.
    auto frame_jacobian = [&](int i) { pin::computeFrameJacobian(model, data, q[i], tip, axes, J); };
    auto joint_jacobians = [&](int i) {
        pin::computeJointJacobians(model, data, q[i]);
        pin::updateFramePlacement(model, data, tip);
        J.setZero();
        pin::getFrameJacobian(model, data, tip, axes, J);
    };
    auto gravity = [&](int i) { pin::computeGeneralizedGravity(model, data, q[i]); };

    std::vector<double> T_forward, T_jacobian, J_frame, J_joints, efforts;
    auto append_pose = [&](std::vector<double> &to) {
        const auto M = data.oMf[tip].toHomogeneousMatrix();
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) to.push_back(M(i, j));
    };
    auto append_matrix = [&](std::vector<double> &to) {
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < n; j++) to.push_back(J(i, j));
    };
    for (int i = 0; i < problem.count; i++) {
        forward(i);
        append_pose(T_forward);
        frame_jacobian(i);
        append_pose(T_jacobian);
        append_matrix(J_frame);
        joint_jacobians(i);
        append_matrix(J_joints);
        gravity(i);
        efforts.insert(efforts.end(), data.g.data(), data.g.data() + n);
    }
    write_table("T", T_forward);
    write_table("T_jacobian", T_jacobian);
    write_table("J_frame", J_frame);
    write_table("J_joints", J_joints);
    write_table("efforts", efforts);
    write_table("forward_us", time_runs(runs, run, problem.count, forward));
    write_table("frame_us", time_runs(runs, run, problem.count, frame_jacobian));
    write_table("joints_us", time_runs(runs, run, problem.count, joint_jacobians));
    write_table("gravity_us", time_runs(runs, run, problem.count, gravity));
}
