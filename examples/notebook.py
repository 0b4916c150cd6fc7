"""Logistic regression by stochastic gradient descent: the notebook that this library grew from. It needs only torch.

Run it from top to bottom: python examples/notebook.py
"""

# %% The data: y is 1 where a noisy x is above zero
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisyThreshold(Dataset):
    def __init__(self, sigma=0.1):
        self.x = torch.arange(-2, 2, 0.01).view(-1, 1)
        self.y = (self.x + sigma * torch.randn(self.x.shape) > 0).float()

    def __getitem__(self, row):
        return self.x[row], self.y[row]

    def __len__(self):
        return len(self.x)


torch.manual_seed(1)
dataset = NoisyThreshold()
data_loader = DataLoader(dataset, batch_size=5)
print(f"{len(dataset)} rows in {len(list(data_loader))} batches")

# %% The model: the probability that y is 1
model = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())

# %% Training: one gradient step for every batch
criterion = nn.BCELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for epoch in range(1, 21):
    for x, y in data_loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch:2d}  loss of the last batch {loss.item():.6f}")

# %% The parameters, and the accuracy on new rows
print(f"weight {model[0].weight.item():.4f}  bias {model[0].bias.item():.4f}")
fresh = NoisyThreshold()
with torch.no_grad():
    correct = (model(fresh.x) > 0.5) == fresh.y.bool()
print(f"accuracy on fresh data {correct.float().mean().item():.4f}")
